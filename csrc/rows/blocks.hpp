#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "rows/half.hpp"
#include "rows/table_view.hpp"

// Rows that are blocks of bytes, end to end. A format has a `Block` of its bytes, alignment 1, with
// `kDims`; `decode_block(block, weights)`, which writes its `kDims` weights as float32; and
// `unusable_number(block)`. Everything is `static`: kernel files include this, each under its own
// flags.
namespace nibblevec {

// A number of a block or a row that must be finite and is not. No name: there is none.
struct UnusableNumber {
    const char* name;
    float value;
};

// The first of a table.
struct UnusableNumberOfTable {
    UnusableNumber number;
    size_t row;
    size_t block;      // of the row
    bool is_of_block;  // not of the row as a whole
};

static inline UnusableNumber unless_finite(const char* name, float value) noexcept {
    if (value - value == 0.0f) return {};
    return {name, value};
}

// The float16 at `bytes`.
static inline UnusableNumber unless_finite(const char* name, const uint8_t* bytes) noexcept {
    constexpr unsigned kExponent = 0x7c00;  // all ones: an infinity or a NaN
    uint16_t half;
    memcpy(&half, bytes, sizeof half);
    if ((half & kExponent) != kExponent) return {};
    return {name, float32_from_float16(half)};
}

template <class Block>
static void decode_blocks(const TableView& table, size_t row, float* weights) noexcept {
    const uint8_t* bytes = table.rows + row * table.row_bytes;
    for (size_t i = 0; i < table.dim / Block::kDims; ++i) {
        Block block;
        memcpy(&block, bytes + i * sizeof block, sizeof block);
        decode_block(block, weights + i * Block::kDims);
    }
}

template <class Block>
static UnusableNumberOfTable unusable_number_of_blocks(const TableView& table) noexcept {
    const size_t row_blocks = table.dim / Block::kDims;
    for (size_t i = 0; i < table.row_count * row_blocks; ++i) {
        Block block;
        memcpy(&block, table.rows + i * sizeof block, sizeof block);
        const UnusableNumber number = unusable_number(block);
        if (number.name) return {number, i / row_blocks, i % row_blocks, true};
    }
    return {};
}

}  // namespace nibblevec
