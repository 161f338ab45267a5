#pragma once

#include <stdint.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "rows/half.hpp"

// Float32 numbers to float16, as the scales of superblocks are kept. A number beyond any float16
// becomes the largest one: no infinity is ever stored.
namespace nibblevec {

inline constexpr float kLargestFloat16 = 65504.0f;

// To the nearest, ties to even.
inline uint16_t float16_from_float32(float number) noexcept {
    const uint32_t sign = std::bit_cast<uint32_t>(number) >> 16 & 0x8000u;
    const float magnitude = std::min(std::fabs(number), kLargestFloat16);
    uint32_t half;
    if (magnitude < 0x1p-14f) {
        // A subnormal number counts 2^-24, the step of float32 numbers between 0.5 and 1.
        half = std::bit_cast<uint32_t>(magnitude + 0.5f) - std::bit_cast<uint32_t>(0.5f);
    } else {
        // Thirteen bits less, and 112 less in the exponent.
        const uint32_t bits = std::bit_cast<uint32_t>(magnitude);
        half = (bits + 0xfffu + (bits >> 13 & 1u) - (112u << 23)) >> 13;
    }
    return static_cast<uint16_t>(sign | half);
}

inline float nearest_float16(float number) noexcept {
    return float32_from_float16(float16_from_float32(number));
}

// The least float16 that is not below `number`, which is not negative.
inline float float16_not_below(float number) noexcept {
    uint16_t half = float16_from_float32(number);
    if (float32_from_float16(half) < std::min(number, kLargestFloat16)) ++half;
    return float32_from_float16(half);
}

}  // namespace nibblevec
