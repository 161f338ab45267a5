#pragma once
// NEON (AArch64): four float32 lanes.

using Floats = float32x4_t;
constexpr size_t kLaneCount = 4;
constexpr size_t kPrefetchTokens = 8;
constexpr size_t kHeadVectors = 8;
constexpr size_t kPlainTileVectors = 16;

inline Floats load(const float* numbers) noexcept { return vld1q_f32(numbers); }
inline Floats load_float32(const uint8_t* bytes) noexcept {
    return vreinterpretq_f32_u8(vld1q_u8(bytes));
}
inline Floats load_float16(const uint8_t* bytes) noexcept {
    return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(bytes)));
}
inline Floats load_bfloat16(const uint8_t* bytes) noexcept {
    return vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8(bytes)), 16));
}
inline Floats load_int8(const uint8_t* bytes) noexcept {
    uint32_t four;
    memcpy(&four, bytes, sizeof four);
    const int16x8_t numbers = vmovl_s8(vreinterpret_s8_u32(vdup_n_u32(four)));
    return vcvtq_f32_s32(vmovl_s16(vget_low_s16(numbers)));
}
inline void store(float* numbers, Floats x) noexcept { vst1q_f32(numbers, x); }
inline Floats broadcast(float x) noexcept { return vdupq_n_f32(x); }
inline Floats add(Floats x, Floats y) noexcept { return vaddq_f32(x, y); }
inline Floats sub(Floats x, Floats y) noexcept { return vsubq_f32(x, y); }
inline Floats mul(Floats x, Floats y) noexcept { return vmulq_f32(x, y); }
inline Floats div(Floats x, Floats y) noexcept { return vdivq_f32(x, y); }
// sum + x * y, for products that are exact: fused, the bits are the same.
inline Floats add_exact_product(Floats sum, Floats x, Floats y) noexcept {
    return vfmaq_f32(sum, x, y);
}
// Which operand a NaN gives is left open.
inline Floats min(Floats x, Floats y) noexcept { return vminq_f32(x, y); }
inline Floats abs(Floats x) noexcept { return vabsq_f32(x); }
inline Floats copy_sign(Floats magnitude, Floats sign) noexcept {
    return vbslq_f32(vdupq_n_u32(0x80000000u), sign, magnitude);
}
using Mask = uint32x4_t;
inline Mask less(Floats x, Floats y) noexcept { return vcltq_f32(x, y); }
inline Mask either(Mask x, Mask y) noexcept { return vorrq_u32(x, y); }
inline bool any(Mask x) noexcept { return vmaxvq_u32(x) != 0; }
inline Floats select(Mask mask, Floats yes, Floats no) noexcept { return vbslq_f32(mask, yes, no); }
// x * 2^n, n being the low bits of `exponent`.
inline Floats add_to_exponent(Floats x, Floats exponent) noexcept {
    const uint32x4_t n = vshlq_n_u32(vreinterpretq_u32_f32(exponent), 23);
    return vreinterpretq_f32_u32(vaddq_u32(vreinterpretq_u32_f32(x), n));
}
// Sixteen sums as a tree: i and i + 8, i and i + 4, i and i + 2, the last two.
inline float tree_sum(const Floats (&sums)[4]) noexcept {
    const float32x4_t four = vaddq_f32(vaddq_f32(sums[0], sums[2]), vaddq_f32(sums[1], sums[3]));
    const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
    return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}
inline void prefetch(const uint8_t* bytes, size_t count) noexcept {
    for (size_t i = 0; i < count; i += 64) __builtin_prefetch(bytes + i);
}

// sse_q4. `tbl` looks up 16 bytes: as with AVX2, the row's sixteen weights are kept as four planes
// of bytes, looked up a plane at a time and zipped back to floats. A unit is 16 bytes, 32
// dimensions, its sums in the order of the dimensions.
constexpr size_t kQ4UnitBytes = 16;
constexpr size_t kQ4TileUnits = 2;
constexpr bool kQ4KeepsWeights = true;
struct Q4Unit {
    float32x4_t sums[8];
};
using Q4Weights = Q4WeightBytes;
struct Q4Lookup {
    uint8x16_t planes[4];
};
inline Q4Unit zero_q4_unit() noexcept {
    Q4Unit unit;
    for (float32x4_t& sums : unit.sums) sums = vdupq_n_f32(0.0f);
    return unit;
}
inline Q4Unit load_q4_unit(const float* sums) noexcept {
    Q4Unit unit;
    for (size_t v = 0; v < 8; ++v) unit.sums[v] = vld1q_f32(sums + 4 * v);
    return unit;
}
inline void store_q4_unit(float* sums, const Q4Unit& unit) noexcept {
    for (size_t v = 0; v < 8; ++v) vst1q_f32(sums + 4 * v, unit.sums[v]);
}
inline Q4Weights make_q4_weights(float scale, const float* token_weight) noexcept {
    alignas(16) float weights[16];
    for (size_t v = 0; v < 4; ++v) {
        float32x4_t four = vmulq_f32(vld1q_f32(kQ4Levels + 4 * v), vdupq_n_f32(scale));
        if (token_weight) four = vmulq_f32(four, vdupq_n_f32(*token_weight));
        vst1q_f32(weights + 4 * v, four);
    }
    const uint8x16x4_t planes = vld4q_u8(reinterpret_cast<const uint8_t*>(weights));
    Q4Weights packed;
    for (size_t plane = 0; plane < 4; ++plane)
        vst1q_u8(packed.bytes + 16 * plane, planes.val[plane]);
    return packed;
}
inline Q4Lookup load_q4_lookup(const Q4Weights& packed) noexcept {
    Q4Lookup lookup;
    for (size_t plane = 0; plane < 4; ++plane)
        lookup.planes[plane] = vld1q_u8(packed.bytes + 16 * plane);
    return lookup;
}
// Sixteen codes, a byte each, to four sums.
inline void add_q4_codes(float32x4_t sums[4], uint8x16_t codes, const Q4Lookup& lookup) noexcept {
    const uint8x16_t b0 = vqtbl1q_u8(lookup.planes[0], codes);
    const uint8x16_t b1 = vqtbl1q_u8(lookup.planes[1], codes);
    const uint8x16_t b2 = vqtbl1q_u8(lookup.planes[2], codes);
    const uint8x16_t b3 = vqtbl1q_u8(lookup.planes[3], codes);
    const uint16x8_t b01_low = vreinterpretq_u16_u8(vzip1q_u8(b0, b1));
    const uint16x8_t b01_high = vreinterpretq_u16_u8(vzip2q_u8(b0, b1));
    const uint16x8_t b23_low = vreinterpretq_u16_u8(vzip1q_u8(b2, b3));
    const uint16x8_t b23_high = vreinterpretq_u16_u8(vzip2q_u8(b2, b3));
    sums[0] = add(sums[0], vreinterpretq_f32_u16(vzip1q_u16(b01_low, b23_low)));
    sums[1] = add(sums[1], vreinterpretq_f32_u16(vzip2q_u16(b01_low, b23_low)));
    sums[2] = add(sums[2], vreinterpretq_f32_u16(vzip1q_u16(b01_high, b23_high)));
    sums[3] = add(sums[3], vreinterpretq_f32_u16(vzip2q_u16(b01_high, b23_high)));
}
inline void add_q4_unit(Q4Unit& unit, const uint8_t* codes, const Q4Lookup& lookup) noexcept {
    const uint8x16_t both = vld1q_u8(codes);
    const uint8x16_t even = vshrq_n_u8(both, 4);
    const uint8x16_t odd = vandq_u8(both, vdupq_n_u8(15));
    add_q4_codes(unit.sums, vzip1q_u8(even, odd), lookup);
    add_q4_codes(unit.sums + 4, vzip2q_u8(even, odd), lookup);
}

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
inline float32_t float32_from_float16_at(const uint8_t* bytes) noexcept {
    uint16_t half;
    memcpy(&half, bytes, sizeof half);
    return vgetq_lane_f32(vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(half))), 0);
}
inline Q4KScales make_q4_k_scales(const Q4KBlock& block) noexcept {
    const Q4KBytes bytes = unpack_q4_k_scales(block.scales);
    const uint8x16_t numbers = vcombine_u8(vcreate_u8(bytes.scales), vcreate_u8(bytes.minima));
    const float32_t d = float32_from_float16_at(block.d);
    const float32_t minus_dmin = -float32_from_float16_at(block.dmin);
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
    const float32_t d = float32_from_float16_at(block.d);
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

// Text, 64 bytes at a time.
struct TextBytes {
    uint8x16_t quarter[4];
};
// The first `count` bytes, 1 to 64, then zeros. Nothing past them is read.
inline TextBytes load_text(const uint8_t* text, size_t count) noexcept {
    uint8_t padded[64];
    if (count < 64) {
        memset(padded, 0, sizeof padded);
        memcpy(padded, text, count);
        text = padded;
    }
    return {{vld1q_u8(text), vld1q_u8(text + 16), vld1q_u8(text + 32), vld1q_u8(text + 48)}};
}
inline void store_text(uint8_t* text, const TextBytes& bytes) noexcept {
    for (size_t i = 0; i < 4; ++i) vst1q_u8(text + 16 * i, bytes.quarter[i]);
}
// 0xff where first <= byte <= last.
inline uint8x16_t bytes_between(uint8x16_t bytes, char first, char last) noexcept {
    return vcleq_u8(vsubq_u8(bytes, vdupq_n_u8(static_cast<uint8_t>(first))),
                    vdupq_n_u8(static_cast<uint8_t>(last - first)));
}
// A bit for each byte: first <= byte <= last. There is no movemask: each byte keeps the bit of its
// place among eight, and three pairwise additions gather them.
inline uint64_t mask_between(const TextBytes& bytes, char first, char last) noexcept {
    const uint8x16_t places = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201));
    uint8x16_t bits[4];
    for (size_t i = 0; i < 4; ++i)
        bits[i] = vandq_u8(bytes_between(bytes.quarter[i], first, last), places);
    const uint8x16_t halves = vpaddq_u8(vpaddq_u8(bits[0], bits[1]), vpaddq_u8(bits[2], bits[3]));
    return vgetq_lane_u64(vreinterpretq_u64_u8(vpaddq_u8(halves, halves)), 0);
}
inline TextBytes set_bit_5(TextBytes bytes) noexcept {
    for (uint8x16_t& quarter : bytes.quarter) quarter = vorrq_u8(quarter, vdupq_n_u8(0x20));
    return bytes;
}
inline TextBytes lower_ascii(TextBytes bytes) noexcept {
    for (uint8x16_t& quarter : bytes.quarter)
        quarter = vorrq_u8(quarter, vandq_u8(bytes_between(quarter, 'A', 'Z'), vdupq_n_u8(0x20)));
    return bytes;
}
