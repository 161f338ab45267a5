#pragma once
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
