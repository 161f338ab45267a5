#pragma once

#include <stddef.h>
#include <stdint.h>

#include "quantize/outcome.hpp"
#include "rows/table_view.hpp"
#include "threads/call.hpp"

namespace nibblevec {

// Packs the rows of one format.
struct Quantizer {
    RowFormat format;
    // Only sse_q4 has a `scale` apart from the row.
    Outcome (*quantize_row)(const float* weights, size_t dim, uint8_t* row, float* scale) noexcept;
    float largest_weight;
    double nanoseconds_per_weight;  // a rough measure, by which threads are started
};

// With a search for the least squared error, or by the published rule. Throws
// std::invalid_argument where there is none.
const Quantizer& quantizer_of(RowFormat format, bool search);

// Borrowed.
struct FloatRows {
    const float* weights;  // [row_count][dim]
    size_t row_count;
    size_t dim;
};

// The bytes of a table of these rows. Throws std::invalid_argument unless there is a row, of whole
// blocks.
size_t packed_bytes(RowFormat format, const FloatRows& rows);

// Writes the table. Throws std::invalid_argument, which names the first row that cannot be packed.
// Returns early, with the table unfinished, when the interruption is requested.
void quantize_rows(const Quantizer& quantizer, const FloatRows& rows, size_t threads,
                   Interruption& interruption, uint8_t* table);

}  // namespace nibblevec
