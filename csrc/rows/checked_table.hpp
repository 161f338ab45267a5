#pragma once

#include <stddef.h>
#include <stdint.h>

#include <span>
#include <string_view>

#include "rows/table_view.hpp"
#include "rows/traits.hpp"

namespace nibblevec {

// All row formats, in the order of their numbers, without formats.hpp and the files that it
// includes.
std::span<const RowFormatTraits> row_formats();

// Throws std::invalid_argument, which lists the row formats, for any other name.
RowFormat row_format_named(std::string_view name);

// A view of the bytes of a whole table. Throws std::invalid_argument unless `dim` fits the format,
// the bytes are a whole number of rows, at least one, that uint32 can count, and all numbers that
// must be finite are.
TableView checked_table(std::span<const uint8_t> bytes, int64_t dim, RowFormat format);

}  // namespace nibblevec
