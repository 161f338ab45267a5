#include "encoder/token_rules.hpp"

#include <algorithm>
#include <iterator>
#include <stdexcept>
#include <utility>

namespace nibblevec {

TokenRules::TokenRules(std::vector<uint32_t> row_of_id, std::vector<double> weight_of_id,
                       bool wide_weights, std::optional<uint32_t> dropped_id)
    : row_of_id_(std::move(row_of_id)),
      weight_of_id_(std::move(weight_of_id)),
      wide_weights_(wide_weights),
      dropped_id_(dropped_id),
      row_limit_(0) {
    if (!row_of_id_.empty() && !weight_of_id_.empty() && row_of_id_.size() != weight_of_id_.size())
        throw std::invalid_argument("rows and weights of ids must be equally many");
    for (const uint32_t row : row_of_id_) row_limit_ = std::max(row_limit_, size_t{row} + 1);
}

bool TokenRules::fit(size_t id_limit, size_t row_count) const {
    if (!weight_of_id_.empty() && id_limit > weight_of_id_.size()) return false;
    if (row_of_id_.empty()) return id_limit <= row_count;
    return id_limit <= row_of_id_.size() && row_limit_ <= row_count;
}

template <typename Weight>
void TokenRules::append(std::span<const uint32_t> ids, std::vector<uint32_t>& rows,
                        std::vector<Weight>& weights) const {
    const size_t begin = rows.size();
    if (dropped_id_) {
        std::copy_if(ids.begin(), ids.end(), std::back_inserter(rows),
                     [dropped = *dropped_id_](uint32_t id) { return id != dropped; });
    } else {
        rows.insert(rows.end(), ids.begin(), ids.end());
    }
    // So far these are ids.
    if (!weight_of_id_.empty())
        for (size_t i = begin; i < rows.size(); ++i)
            weights.push_back(static_cast<Weight>(weight_of_id_[rows[i]]));
    if (!row_of_id_.empty())
        for (size_t i = begin; i < rows.size(); ++i) rows[i] = row_of_id_[rows[i]];
}

template void TokenRules::append(std::span<const uint32_t>, std::vector<uint32_t>&,
                                 std::vector<float>&) const;
template void TokenRules::append(std::span<const uint32_t>, std::vector<uint32_t>&,
                                 std::vector<double>&) const;

}  // namespace nibblevec
