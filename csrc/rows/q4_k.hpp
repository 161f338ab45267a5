#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "rows/blocks.hpp"
#include "rows/half.hpp"

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

// Byte i belongs to sub-block i.
struct Q4KBytes {
    uint64_t scales;
    uint64_t minima;
};

// Sub-blocks 0 to 3 have their scales in the low six bits of bytes 0 to 3, their minima in those of
// bytes 4 to 7. Sub-blocks 4 to 7 have the low four bits of both in bytes 8 to 11, the scale in the
// low nibble, and the upper two bits above the six of bytes 0 to 7.
static inline Q4KBytes unpack_q4_k_scales(const uint8_t* scales) noexcept {
    uint32_t words[3];
    memcpy(words, scales, sizeof words);
    const uint64_t last_scales = (words[2] & 0x0f0f0f0fu) | (words[0] >> 2 & 0x30303030u);
    const uint64_t last_minima = (words[2] >> 4 & 0x0f0f0f0fu) | (words[1] >> 2 & 0x30303030u);
    return {last_scales << 32 | (words[0] & 0x3f3f3f3fu),
            last_minima << 32 | (words[1] & 0x3f3f3f3fu)};
}

static inline void decode_block(const Q4KBlock& block, float* weights) noexcept {
    const float d = float32_from_float16_at(block.d);
    const float dmin = float32_from_float16_at(block.dmin);
    const Q4KBytes bytes = unpack_q4_k_scales(block.scales);
    for (size_t i = 0; i < Q4KBlock::kDims; ++i) {
        const size_t sub_block = i / Q4KBlock::kSubBlockDims;
        const float scale = d * static_cast<float>(bytes.scales >> 8 * sub_block & 63);
        const float minimum = dmin * static_cast<float>(bytes.minima >> 8 * sub_block & 63);
        const unsigned both = block.codes[i / 64 * 32 + i % 32];
        const auto code = static_cast<float>(sub_block % 2 == 0 ? both & 15 : both >> 4);
        weights[i] = scale * code - minimum;
    }
}

static inline UnusableNumber unusable_number(const Q4KBlock& block) noexcept {
    const UnusableNumber d = unless_finite("d", block.d);
    return d.name ? d : unless_finite("dmin", block.dmin);
}

}  // namespace nibblevec
