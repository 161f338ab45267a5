#pragma once

#include <stddef.h>
#include <stdint.h>

#include "rows/blocks.hpp"
#include "rows/plain.hpp"
#include "rows/q4_k.hpp"
#include "rows/q6_k.hpp"
#include "rows/sse_q4.hpp"
#include "rows/table_view.hpp"
#include "rows/traits.hpp"

// The table of row formats. A new one is a file beside this one, its name and its line here, and
// its sum in kernel/kernel.inl.hpp.
namespace nibblevec {

enum class RowFormat : uint8_t { sse_q4, float32, float16, bfloat16, int8, q4_k, q6_k };

template <class Block>
static constexpr RowFormatTraits plain_numbers(RowFormat format, const char* name) noexcept {
    return {format, name, Block::kDims, sizeof(Block), 0, decode_blocks<Block>, nullptr};
}

template <class Block>
static constexpr RowFormatTraits superblocks(RowFormat format, const char* name) noexcept {
    return {format,
            name,
            Block::kDims,
            sizeof(Block),
            0,
            decode_blocks<Block>,
            unusable_number_of_blocks<Block>};
}

constexpr RowFormatTraits kRowFormats[] = {
    {RowFormat::sse_q4, "sse_q4", 2, 1, sizeof(float), decode_sse_q4, unusable_scale_of_sse_q4},
    {RowFormat::float32, "float32", 1, sizeof(float), 0, decode_float32, nullptr},
    plain_numbers<Float16Block>(RowFormat::float16, "float16"),
    plain_numbers<BFloat16Block>(RowFormat::bfloat16, "bfloat16"),
    plain_numbers<Int8Block>(RowFormat::int8, "int8"),
    superblocks<Q4KBlock>(RowFormat::q4_k, "q4_k"),
    superblocks<Q6KBlock>(RowFormat::q6_k, "q6_k"),
};
constexpr size_t kRowFormatCount = sizeof kRowFormats / sizeof *kRowFormats;

static constexpr bool row_formats_are_in_order() noexcept {
    for (size_t i = 0; i < kRowFormatCount; ++i)
        if (kRowFormats[i].format != static_cast<RowFormat>(i)) return false;
    return true;
}
static_assert(row_formats_are_in_order());

static constexpr const RowFormatTraits& traits_of(RowFormat format) noexcept {
    return kRowFormats[static_cast<size_t>(format)];
}

// Bytes of one row, without its scale.
static constexpr size_t row_bytes(RowFormat format, size_t dim) noexcept {
    return dim / traits_of(format).block_dims * traits_of(format).block_bytes;
}

// Writes the `dim` weights of one row as float32.
static inline void decode_row(const TableView& table, size_t row, float* weights) noexcept {
    traits_of(table.format).decode_row(table, row, weights);
}

// A view of `row_count` rows that lie end to end, and behind them their scales if there are any.
static constexpr TableView make_table_view(RowFormat format, size_t row_count, size_t dim,
                                           const uint8_t* bytes) noexcept {
    const size_t bytes_of_row = row_bytes(format, dim);
    const size_t bytes_of_rows = row_count * bytes_of_row;
    const uint8_t* scales = traits_of(format).scale_bytes > 0 ? bytes + bytes_of_rows : nullptr;
    const size_t overreadable =
        bytes_of_rows > kMaxOverreadBytes ? (bytes_of_rows - kMaxOverreadBytes) / bytes_of_row : 0;
    return {format, row_count, dim, bytes_of_row, bytes, scales, overreadable};
}

}  // namespace nibblevec
