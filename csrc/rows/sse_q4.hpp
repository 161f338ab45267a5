#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "rows/blocks.hpp"

// The published SSE tables. A row is dim/2 bytes of codes; the high nibble of byte i is dimension
// 2i, the low nibble 2i+1. The rows' float32 scales lie behind all rows. A weight is (code / 7.5f
// - 1.0f) * scale, every step rounded to float32, so a row has only sixteen different weights.
namespace nibblevec {

// The sixteen weights of one row, in the order in which the lanes look them up.
struct alignas(64) Q4WeightBytes {
    uint8_t bytes[64];
};
static_assert(sizeof(Q4WeightBytes) == 16 * sizeof(float));

// (code / 7.5f - 1.0f) for each code, rounded as the format says.
alignas(64) constexpr float kQ4Levels[16] = {
    0 / 7.5f - 1.0f,  1 / 7.5f - 1.0f,  2 / 7.5f - 1.0f,  3 / 7.5f - 1.0f,
    4 / 7.5f - 1.0f,  5 / 7.5f - 1.0f,  6 / 7.5f - 1.0f,  7 / 7.5f - 1.0f,
    8 / 7.5f - 1.0f,  9 / 7.5f - 1.0f,  10 / 7.5f - 1.0f, 11 / 7.5f - 1.0f,
    12 / 7.5f - 1.0f, 13 / 7.5f - 1.0f, 14 / 7.5f - 1.0f, 15 / 7.5f - 1.0f};

static inline float scale_of_sse_q4(const TableView& table, size_t row) noexcept {
    float scale;
    memcpy(&scale, table.scales + row * sizeof scale, sizeof scale);
    return scale;
}

static inline void decode_sse_q4(const TableView& table, size_t row, float* weights) noexcept {
    const float scale = scale_of_sse_q4(table, row);
    const uint8_t* codes = table.rows + row * table.row_bytes;
    // No look-up in `kQ4Levels`: compilers make vectors of these steps, and not of a look-up.
    for (size_t i = 0; i < table.row_bytes; ++i) {
        const auto even = static_cast<float>(codes[i] >> 4);
        const auto odd = static_cast<float>(codes[i] & 15);
        weights[2 * i] = (even / 7.5f - 1.0f) * scale;
        weights[2 * i + 1] = (odd / 7.5f - 1.0f) * scale;
    }
}

static inline UnusableNumberOfTable unusable_scale_of_sse_q4(const TableView& table) noexcept {
    for (size_t row = 0; row < table.row_count; ++row) {
        const UnusableNumber number = unless_finite("scale", scale_of_sse_q4(table, row));
        if (number.name) return {number, row, 0, false};
    }
    return {};
}

}  // namespace nibblevec
