#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

// ggml's Q4_K. A row is dim/256 superblocks of eight sub-blocks of 32 weights. A sub-block has a
// scale and a minimum of six bits; a weight is (d * scale) * code - dmin * minimum in float32.
// Both products are exact (11 x 6 x 4 bits of significand, between 2^-24 and 2^26), so only the
// subtraction rounds, and a fused one gives the same bits.
namespace nibblevec {

struct Q4KBlock {
    static constexpr size_t kDims = 256;
    static constexpr size_t kSubBlockDims = 32;

    uint8_t d[2];        // float16, scale of the scales
    uint8_t dmin[2];     // float16, scale of the minima
    uint8_t scales[12];  // eight scales and eight minima: see `unpack_q4_k_scales`
    uint8_t codes[128];  // 32 bytes for 64 weights: low nibbles the first 32, high ones the others
};
static_assert(sizeof(Q4KBlock) == 144 && alignof(Q4KBlock) == 1);

// d * scale and -(dmin * minimum) of each sub-block.
struct alignas(64) Q4KScales {
    float scales[8];
    float minus_minima[8];
};

// Of sub-block i, byte i.
struct Q4KBytes {
    uint64_t scales;
    uint64_t minima;
};

// Those of sub-blocks 0 to 3 are the low six bits of bytes 0 to 3 (scales) and 4 to 7 (minima).
// Those of 4 to 7 have their low four bits in bytes 8 to 11, the scale in the low nibble, and their
// upper two bits above the six of bytes 0 to 7.
static inline Q4KBytes unpack_q4_k_scales(const uint8_t* scales) noexcept {
    uint32_t words[3];
    memcpy(words, scales, sizeof words);
    const uint64_t last_scales = (words[2] & 0x0f0f0f0fu) | (words[0] >> 2 & 0x30303030u);
    const uint64_t last_minima = (words[2] >> 4 & 0x0f0f0f0fu) | (words[1] >> 2 & 0x30303030u);
    return {last_scales << 32 | (words[0] & 0x3f3f3f3fu),
            last_minima << 32 | (words[1] & 0x3f3f3f3fu)};
}

}  // namespace nibblevec
