#pragma once

#include "rows/table_view.hpp"

namespace nibblevec {

// Writes the `dim` weights of one row as float32. The plain reading of each format: the kernels'
// sums of rows must agree with it to the bit.
void decode_row(const TableView& table, size_t row, float* weights) noexcept;

}  // namespace nibblevec
