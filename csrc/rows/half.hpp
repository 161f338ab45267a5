#pragma once

#include <stdint.h>
#include <string.h>

// The two 16-bit floats, widened to float32, which is exact. `static`: each file that includes this
// keeps its own copy, compiled for its own instruction set.
namespace nibblevec {

// bfloat16 is the upper half of a float32.
static inline float float32_from_bfloat16(uint16_t half) noexcept {
    const uint32_t bits = static_cast<uint32_t>(half) << 16;
    float number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

// IEEE 754 binary16: sign, 5 bits of exponent (bias 15), 10 of significand. Moved into a float32's
// fields and scaled by 2^(127 - 15), a power of two, normal and subnormal numbers come out right;
// infinities and NaNs get the largest exponent instead.
static inline float float32_from_float16(uint16_t half) noexcept {
    const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
    uint32_t bits = static_cast<uint32_t>(half & 0x7fffu) << 13;
    float magnitude;
    if (bits >= 0x7c00u << 13) {
        bits |= 0x7f800000u;
    } else {
        memcpy(&magnitude, &bits, sizeof magnitude);
        magnitude *= 0x1p112f;
        memcpy(&bits, &magnitude, sizeof bits);
    }
    bits |= sign;
    memcpy(&magnitude, &bits, sizeof magnitude);
    return magnitude;
}

// The bytes need not be aligned.
static inline float float32_from_float16_at(const uint8_t* bytes) noexcept {
    uint16_t half;
    memcpy(&half, bytes, sizeof half);
    return float32_from_float16(half);
}

}  // namespace nibblevec
