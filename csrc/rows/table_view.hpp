#pragma once

#include <stddef.h>
#include <stdint.h>

#include "rows/q4_k.hpp"
#include "rows/q6_k.hpp"

namespace nibblevec {

// Row formats in the order of `Kernel::sum_rows`.
enum class RowFormat : uint8_t { sse_q4, float32, float16, bfloat16, int8, q4_k, q6_k };
inline constexpr size_t kRowFormatCount = 7;

// A kernel reads whole vectors, some of them from two bytes further on, so up to one byte more than
// the widest vector past the last byte that it needs.
inline constexpr size_t kMaxOverreadBytes = 65;

// A table of token embeddings in the bytes it came in. Borrowed: whoever makes the view keeps the
// bytes alive, unmoved and unchanged while a kernel runs. Nothing here need be aligned.
struct TableView {
    RowFormat format;
    size_t row_count;
    size_t dim;
    size_t row_bytes;
    const uint8_t* rows;    // [row_count][row_bytes]
    const uint8_t* scales;  // sse_q4: float32 [row_count]; else null
    // Rows below this number have `kMaxOverreadBytes` more bytes of `rows` behind them.
    size_t overreadable_rows;
};

// `dim` must be a multiple of so many.
constexpr size_t dim_unit(RowFormat format) noexcept {
    switch (format) {
        case RowFormat::sse_q4:
            return 2;
        case RowFormat::float32:
        case RowFormat::float16:
        case RowFormat::bfloat16:
        case RowFormat::int8:
            return 1;
        case RowFormat::q4_k:
            return Q4KBlock::kDims;
        case RowFormat::q6_k:
            return Q6KBlock::kDims;
    }
    return 1;
}

// Bytes of one row.
constexpr size_t row_bytes(RowFormat format, size_t dim) noexcept {
    switch (format) {
        case RowFormat::sse_q4:
            return dim / 2;
        case RowFormat::float32:
            return dim * 4;
        case RowFormat::float16:
        case RowFormat::bfloat16:
            return dim * 2;
        case RowFormat::int8:
            return dim;
        case RowFormat::q4_k:
            return dim / Q4KBlock::kDims * sizeof(Q4KBlock);
        case RowFormat::q6_k:
            return dim / Q6KBlock::kDims * sizeof(Q6KBlock);
    }
    return 0;
}

// A view of `row_count` rows that lie end to end.
constexpr TableView make_table_view(RowFormat format, size_t row_count, size_t dim,
                                    const uint8_t* rows, const uint8_t* scales) noexcept {
    const size_t bytes_of_row = row_bytes(format, dim);
    const size_t bytes = row_count * bytes_of_row;
    const size_t overreadable =
        bytes > kMaxOverreadBytes ? (bytes - kMaxOverreadBytes) / bytes_of_row : 0;
    return {format, row_count, dim, bytes_of_row, rows, scales, overreadable};
}

}  // namespace nibblevec
