#pragma once

#include <stddef.h>
#include <stdint.h>

#include "rows/table_view.hpp"

namespace nibblevec {

struct UnusableNumberOfTable;  // see blocks.hpp

// The properties of a row format. formats.hpp has a table of all formats.
struct RowFormatTraits {
    RowFormat format;
    const char* name;
    size_t block_dims;  // a row is whole blocks
    size_t block_bytes;
    size_t scale_bytes;  // of a row, apart from it: those of all rows lie behind all rows
    // The plain reading of the format: the kernels' sums of rows must agree with it to the bit.
    void (*decode_row)(const TableView& table, size_t row, float* weights) noexcept;
    // The first that the table holds. Null: every number is a weight.
    UnusableNumberOfTable (*unusable_number)(const TableView& table) noexcept;
};

}  // namespace nibblevec
