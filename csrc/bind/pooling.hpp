#pragma once

#include <optional>
#include <string>

#include "bind/arrays.hpp"
#include "bind/table.hpp"
#include "encoder/pooling.hpp"

namespace nibblevec {

// Dynamic Tanh's three vectors, of equal length.
class DynamicTanh {
  public:
    DynamicTanh(Array<float> alpha, Array<float> beta, Array<float> bias);

    size_t dim() const { return static_cast<size_t>(alpha_.size()); }
    HeadView view(bool mean, Norm norm) const {
        return {alpha_.data(), beta_.data(), bias_.data(), mean, norm};
    }

  private:
    Array<float> alpha_, beta_, bias_;
};

// The head of the bags of a table, of which `dims` are kept.
BagHead bag_head(const DynamicTanh* dynamic_tanh, const Table& table, size_t dims, bool mean,
                 const std::optional<std::string>& normalization, bool normalize, bool wide_sums);

}  // namespace nibblevec
