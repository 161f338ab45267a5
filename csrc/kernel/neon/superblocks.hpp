#pragma once
// Rows of superblocks.
constexpr size_t kSuperblockTileUnits = 1;

// q4_k: each weight is computed. `tbl` widens four bytes of sixteen to lanes in one operation.
struct Q4KCodes {
    uint8x16_t low[2];
    uint8x16_t high[2];
};
struct Q4KLookup {
    float32x4_t scale, minus_minimum, token_weight;
};
// Number `quarter` of the four times four bytes, as float32.
inline float32x4_t floats_from_bytes(uint8x16_t bytes, size_t quarter) noexcept {
    constexpr uint32_t kNone = 0xffffff00u;
    const uint32_t first = kNone | static_cast<uint32_t>(4 * quarter);
    const uint32_t lanes[4] = {first, first + 1, first + 2, first + 3};
    const uint8x16_t places = vreinterpretq_u8_u32(vld1q_u32(lanes));
    return vcvtq_f32_u32(vreinterpretq_u32_u8(vqtbl1q_u8(bytes, places)));
}
inline float32_t widened_float16_at(const uint8_t* bytes) noexcept {
    uint16_t half;
    memcpy(&half, bytes, sizeof half);
    return vgetq_lane_f32(vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(half))), 0);
}
inline Q4KScales make_q4_k_scales(const Q4KBlock& block) noexcept {
    const Q4KBytes bytes = unpack_q4_k_scales(block.scales);
    const uint8x16_t numbers = vcombine_u8(vcreate_u8(bytes.scales), vcreate_u8(bytes.minima));
    const float32_t d = widened_float16_at(block.d);
    const float32_t minus_dmin = -widened_float16_at(block.dmin);
    Q4KScales scales;
    for (size_t v = 0; v < 2; ++v) {
        vst1q_f32(scales.scales + 4 * v, vmulq_n_f32(floats_from_bytes(numbers, v), d));
        vst1q_f32(scales.minus_minima + 4 * v,
                  vmulq_n_f32(floats_from_bytes(numbers, 2 + v), minus_dmin));
    }
    return scales;
}
inline Q4KCodes load_q4_k_codes(const uint8_t* bytes) noexcept {
    Q4KCodes codes;
    for (size_t i = 0; i < 2; ++i) {
        const uint8x16_t both = vld1q_u8(bytes + 16 * i);
        codes.low[i] = vandq_u8(both, vdupq_n_u8(15));
        codes.high[i] = vshrq_n_u8(both, 4);
    }
    return codes;
}
template <bool kWeighted>
inline Q4KLookup make_q4_k_lookup(float scale, float minus_minimum, float token_weight) noexcept {
    return {broadcast(scale), broadcast(minus_minimum), broadcast(token_weight)};
}
template <bool kWeighted>
inline Floats q4_k_weights(const Q4KLookup& lookup, const Q4KCodes& codes, size_t vector,
                           bool high) noexcept {
    const uint8x16_t bytes = high ? codes.high[vector / 4] : codes.low[vector / 4];
    const float32x4_t code = floats_from_bytes(bytes, vector % 4);
    const float32x4_t weights = add_exact_product(lookup.minus_minimum, code, lookup.scale);
    return kWeighted ? mul(weights, lookup.token_weight) : weights;
}

// q6_k.
inline Q6KScales make_q6_k_scales(const Q6KBlock& block) noexcept {
    const float32_t d = widened_float16_at(block.d);
    const auto* bytes = reinterpret_cast<const uint8_t*>(block.scales);
    Q6KScales scales;
    for (size_t v = 0; v < 4; ++v)
        vst1q_f32(scales.scales + 4 * v, vmulq_n_f32(load_int8(bytes + 4 * v), d));
    return scales;
}
inline void unpack_q6_k_unit(const uint8_t* low, const uint8_t* high, bool second,
                             uint8_t* codes) noexcept {
    const uint8x16_t nibble = vdupq_n_u8(15);
    const uint8x16_t upper_two = vdupq_n_u8(0x30);
    for (size_t i = 0; i < 2; ++i) {
        uint8x16_t first = vld1q_u8(low + 16 * i);
        uint8x16_t last = vld1q_u8(low + 32 + 16 * i);
        uint8x16_t upper = vld1q_u8(high + 16 * i);
        // The upper bits of both quarters to bits 4 and 5, and to bits 6 and 7.
        if (second) {
            first = vshrq_n_u8(first, 4);
            last = vshrq_n_u8(last, 4);
        } else {
            upper = vshlq_n_u8(upper, 4);
        }
        first = vorrq_u8(vandq_u8(first, nibble), vandq_u8(upper, upper_two));
        last = vorrq_u8(vandq_u8(last, nibble), vandq_u8(vshrq_n_u8(upper, 2), upper_two));
        vst1q_u8(codes + 16 * i, vsubq_u8(first, vdupq_n_u8(32)));
        vst1q_u8(codes + 32 + 16 * i, vsubq_u8(last, vdupq_n_u8(32)));
    }
}
