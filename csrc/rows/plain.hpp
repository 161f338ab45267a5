#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "rows/blocks.hpp"
#include "rows/half.hpp"

// Rows of plain numbers, little-endian, not necessarily aligned: a block is one number, and the
// number is the weight. A float that is not finite is a weight like any other.
namespace nibblevec {

// Compilers do not join the blocks of a row to one copy, which takes half the time.
static inline void decode_float32(const TableView& table, size_t row, float* weights) noexcept {
    memcpy(weights, table.rows + row * table.row_bytes, table.row_bytes);
}

struct Float16Block {
    static constexpr size_t kDims = 1;

    uint8_t bytes[2];
};
static_assert(sizeof(Float16Block) == 2 && alignof(Float16Block) == 1);

static inline void decode_block(const Float16Block& block, float* weights) noexcept {
    *weights = float32_from_float16_at(block.bytes);
}

struct BFloat16Block {
    static constexpr size_t kDims = 1;

    uint8_t bytes[2];
};
static_assert(sizeof(BFloat16Block) == 2 && alignof(BFloat16Block) == 1);

static inline void decode_block(const BFloat16Block& block, float* weights) noexcept {
    uint16_t half;
    memcpy(&half, block.bytes, sizeof half);
    *weights = float32_from_bfloat16(half);
}

struct Int8Block {
    static constexpr size_t kDims = 1;

    int8_t number;
};
static_assert(sizeof(Int8Block) == 1);

static inline void decode_block(const Int8Block& block, float* weights) noexcept {
    *weights = static_cast<float>(block.number);
}

}  // namespace nibblevec
