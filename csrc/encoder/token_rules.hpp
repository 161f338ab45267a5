#pragma once

#include <stddef.h>
#include <stdint.h>

#include <optional>
#include <span>
#include <vector>

namespace nibblevec {

// Maps the ids of a tokenizer to rows of a table: the row of each id, its weight, and the id that
// does not count at all. Immutable.
class TokenRules {
  public:
    // Without `row_of_id` the ids are the rows, without `weight_of_id` there are no weights. If
    // both are there, they are equally long.
    TokenRules(std::vector<uint32_t> row_of_id, std::vector<double> weight_of_id, bool wide_weights,
               std::optional<uint32_t> dropped_id);

    // Whether weights are not to be rounded to float32.
    bool has_wide_weights() const { return wide_weights_; }

    // Whether all ids below `id_limit` become rows of a table of `row_count` rows.
    bool fit(size_t id_limit, size_t row_count) const;

    // Appends the rows, and the weights if there are any, of the ids that count. Weights are float
    // or double.
    template <typename Weight>
    void append(std::span<const uint32_t> ids, std::vector<uint32_t>& rows,
                std::vector<Weight>& weights) const;

  private:
    std::vector<uint32_t> row_of_id_;
    std::vector<double> weight_of_id_;
    bool wide_weights_;
    std::optional<uint32_t> dropped_id_;
    size_t row_limit_;  // every row of `row_of_id_` is below it
};

}  // namespace nibblevec
