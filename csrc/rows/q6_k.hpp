#pragma once

#include <stddef.h>
#include <stdint.h>

#include "rows/blocks.hpp"
#include "rows/half.hpp"

// ggml's Q6_K. A row is dim/256 superblocks of sixteen sub-blocks of 16 weights. A weight is
// (d * scale) * (code - 32) in float32, a code having six bits. Both products are exact (11 x 7 x
// 5 bits of significand, or a power of two for 7 or 5; between 2^-24 and 2^28), so that nothing
// is rounded and a fused sum gives the same bits.
//
// A half has 128 weights in four quarters of 32. Their low four bits are in 64 bytes: quarters 0
// and 1 in the low nibbles, 2 and 3 in the high ones. Their upper two are in 32 bytes: of quarter
// i in bits 2i and 2i + 1.
namespace nibblevec {

struct Q6KBlock {
    static constexpr size_t kDims = 256;
    static constexpr size_t kSubBlockDims = 16;

    uint8_t low[2][64];   // of either half
    uint8_t high[2][32];  // of either half
    int8_t scales[16];
    uint8_t d[2];  // float16
};
static_assert(sizeof(Q6KBlock) == 210 && alignof(Q6KBlock) == 1);

// d * scale of each sub-block.
struct alignas(64) Q6KScales {
    float scales[16];
};

static inline void decode_block(const Q6KBlock& block, float* weights) noexcept {
    const float d = float32_from_float16_at(block.d);
    for (size_t i = 0; i < Q6KBlock::kDims; ++i) {
        const size_t half = i / 128, quarter = i / 32 % 4;
        const int low = block.low[half][i % 64] >> 4 * (quarter / 2) & 15;
        const int high = block.high[half][i % 32] >> 2 * quarter & 3;
        const auto scale = static_cast<float>(block.scales[i / Q6KBlock::kSubBlockDims]);
        weights[i] = d * scale * static_cast<float>((high << 4 | low) - 32);
    }
}

static inline UnusableNumber unusable_number(const Q6KBlock& block) noexcept {
    return unless_finite("d", block.d);
}

}  // namespace nibblevec
