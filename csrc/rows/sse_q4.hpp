#pragma once

#include <stddef.h>
#include <stdint.h>

// A row is dim/2 bytes of codes; the high nibble of byte i is dimension 2i, the low nibble 2i+1.
// One float32 scale a row lies apart. A weight is (code / 7.5f - 1.0f) * scale, every step rounded
// to float32, so a row has only sixteen different weights.
namespace nibblevec {

// The sixteen weights of one row, in whatever order the lanes like to look them up.
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

}  // namespace nibblevec
