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
