#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

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

// The one that is not finite of two, if any.
static inline UnusableNumber unless_finite(const char* name, float value) noexcept {
    const bool is_finite = value - value == 0.0f;
    return {is_finite ? nullptr : name, value};
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
