#pragma once
// sse_q4. There is no 16-entry float lookup, but `pshufb` looks up 16 bytes: the row's sixteen
// weights are kept as four planes (byte 0 of each, byte 1, ...), looked up a plane at a time, and
// unpacked back to floats: three shuffles for eight weights, where two 8-entry permutes and a
// blend took four operations and were 1.2 to 1.3 times slower.
// A unit is 32 bytes. Per 128-bit half (16 bytes, 32 dimensions) the high nibbles give the even
// dimensions, the low ones the odd: `even[k]` holds dimensions 8k, 8k+2, 8k+4, 8k+6 of either half.
constexpr size_t kQ4UnitBytes = 32;
constexpr size_t kQ4TileUnits = 1;
constexpr bool kQ4KeepsWeights = true;
struct Q4Unit {
    __m256 even[4];
    __m256 odd[4];
};
using Q4Weights = Q4WeightBytes;
struct Q4Lookup {
    __m256i planes[4];
};
inline Q4Unit zero_q4_unit() noexcept {
    const __m256 zero = _mm256_setzero_ps();
    return {{zero, zero, zero, zero}, {zero, zero, zero, zero}};
}
inline Q4Unit load_q4_unit(const float* sums) noexcept {
    Q4Unit unit;
    for (size_t k = 0; k < 4; ++k) {
        const __m256 first = _mm256_loadu_ps(sums + 8 * k);
        const __m256 second = _mm256_loadu_ps(sums + 32 + 8 * k);
        const __m256 left = _mm256_permute2f128_ps(first, second, 0x20);
        const __m256 right = _mm256_permute2f128_ps(first, second, 0x31);
        unit.even[k] = _mm256_shuffle_ps(left, right, 0x88);
        unit.odd[k] = _mm256_shuffle_ps(left, right, 0xdd);
    }
    return unit;
}
inline void store_q4_unit(float* sums, const Q4Unit& unit) noexcept {
    for (size_t k = 0; k < 4; ++k) {
        const __m256 left = _mm256_unpacklo_ps(unit.even[k], unit.odd[k]);
        const __m256 right = _mm256_unpackhi_ps(unit.even[k], unit.odd[k]);
        _mm256_storeu_ps(sums + 8 * k, _mm256_permute2f128_ps(left, right, 0x20));
        _mm256_storeu_ps(sums + 32 + 8 * k, _mm256_permute2f128_ps(left, right, 0x31));
    }
}
inline Q4Weights make_q4_weights(float scale, const float* token_weight) noexcept {
    __m256 low = _mm256_mul_ps(_mm256_load_ps(kQ4Levels), _mm256_set1_ps(scale));
    __m256 high = _mm256_mul_ps(_mm256_load_ps(kQ4Levels + 8), _mm256_set1_ps(scale));
    if (token_weight) {
        low = _mm256_mul_ps(low, _mm256_set1_ps(*token_weight));
        high = _mm256_mul_ps(high, _mm256_set1_ps(*token_weight));
    }
    // Four weights a half: bytes to planes within the half, then planes of four halves together.
    const __m256i by_plane =
        _mm256_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15,  //
                         0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m256i first = _mm256_shuffle_epi8(_mm256_castps_si256(low), by_plane);
    const __m256i second = _mm256_shuffle_epi8(_mm256_castps_si256(high), by_plane);
    const __m256i in_order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    Q4Weights packed;
    _mm256_store_si256(reinterpret_cast<__m256i*>(packed.bytes),
                       _mm256_permutevar8x32_epi32(_mm256_unpacklo_epi32(first, second), in_order));
    _mm256_store_si256(reinterpret_cast<__m256i*>(packed.bytes + 32),
                       _mm256_permutevar8x32_epi32(_mm256_unpackhi_epi32(first, second), in_order));
    return packed;
}
inline Q4Lookup load_q4_lookup(const Q4Weights& packed) noexcept {
    Q4Lookup lookup;
    for (size_t plane = 0; plane < 4; ++plane)
        lookup.planes[plane] = _mm256_broadcastsi128_si256(
            _mm_load_si128(reinterpret_cast<const __m128i*>(packed.bytes + 16 * plane)));
    return lookup;
}
inline void add_q4_codes(__m256 sums[4], __m256i codes, const Q4Lookup& lookup) noexcept {
    const __m256i b0 = _mm256_shuffle_epi8(lookup.planes[0], codes);
    const __m256i b1 = _mm256_shuffle_epi8(lookup.planes[1], codes);
    const __m256i b2 = _mm256_shuffle_epi8(lookup.planes[2], codes);
    const __m256i b3 = _mm256_shuffle_epi8(lookup.planes[3], codes);
    const __m256i b01_low = _mm256_unpacklo_epi8(b0, b1);
    const __m256i b01_high = _mm256_unpackhi_epi8(b0, b1);
    const __m256i b23_low = _mm256_unpacklo_epi8(b2, b3);
    const __m256i b23_high = _mm256_unpackhi_epi8(b2, b3);
    sums[0] = add(sums[0], _mm256_castsi256_ps(_mm256_unpacklo_epi16(b01_low, b23_low)));
    sums[1] = add(sums[1], _mm256_castsi256_ps(_mm256_unpackhi_epi16(b01_low, b23_low)));
    sums[2] = add(sums[2], _mm256_castsi256_ps(_mm256_unpacklo_epi16(b01_high, b23_high)));
    sums[3] = add(sums[3], _mm256_castsi256_ps(_mm256_unpackhi_epi16(b01_high, b23_high)));
}
inline void add_q4_unit(Q4Unit& unit, const uint8_t* codes, const Q4Lookup& lookup) noexcept {
    const __m256i both = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes));
    const __m256i nibble = _mm256_set1_epi8(15);
    add_q4_codes(unit.even, _mm256_and_si256(_mm256_srli_epi16(both, 4), nibble), lookup);
    add_q4_codes(unit.odd, _mm256_and_si256(both, nibble), lookup);
}
