#pragma once
// AVX-512 (F, BW, DQ, VL): sixteen float32 lanes.

using Floats = __m512;
constexpr size_t kLaneCount = 16;
constexpr size_t kPrefetchTokens = 16;
constexpr size_t kHeadVectors = 4;
constexpr size_t kPlainTileVectors = 16;

inline Floats load(const float* numbers) noexcept { return _mm512_loadu_ps(numbers); }
inline Floats load_float32(const uint8_t* bytes) noexcept { return _mm512_loadu_ps(bytes); }
inline Floats load_float16(const uint8_t* bytes) noexcept {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes)));
}
inline Floats load_bfloat16(const uint8_t* bytes) noexcept {
    const __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}
inline Floats load_int8(const uint8_t* bytes) noexcept {
    const __m128i numbers = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(numbers));
}
inline void store(float* numbers, Floats x) noexcept { _mm512_storeu_ps(numbers, x); }
inline Floats broadcast(float x) noexcept { return _mm512_set1_ps(x); }
inline Floats add(Floats x, Floats y) noexcept { return _mm512_add_ps(x, y); }
inline Floats sub(Floats x, Floats y) noexcept { return _mm512_sub_ps(x, y); }
inline Floats mul(Floats x, Floats y) noexcept { return _mm512_mul_ps(x, y); }
inline Floats div(Floats x, Floats y) noexcept { return _mm512_div_ps(x, y); }
// sum + x * y, for products that are exact: fused, the bits are the same.
inline Floats add_exact_product(Floats sum, Floats x, Floats y) noexcept {
    return _mm512_fmadd_ps(x, y, sum);
}
// Which operand a NaN gives is left open.
inline Floats min(Floats x, Floats y) noexcept { return _mm512_min_ps(x, y); }
inline Floats abs(Floats x) noexcept { return _mm512_abs_ps(x); }
inline Floats copy_sign(Floats magnitude, Floats sign) noexcept {
    return _mm512_or_ps(magnitude, _mm512_and_ps(_mm512_set1_ps(-0.0f), sign));
}
using Mask = __mmask16;
inline Mask less(Floats x, Floats y) noexcept { return _mm512_cmp_ps_mask(x, y, _CMP_LT_OQ); }
inline Mask either(Mask x, Mask y) noexcept { return _kor_mask16(x, y); }
inline bool any(Mask x) noexcept { return x != 0; }
inline Floats select(Mask mask, Floats yes, Floats no) noexcept {
    return _mm512_mask_blend_ps(mask, no, yes);
}
// x * 2^n, n being the low bits of `exponent`.
inline Floats add_to_exponent(Floats x, Floats exponent) noexcept {
    const __m512i n = _mm512_slli_epi32(_mm512_castps_si512(exponent), 23);
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(x), n));
}
// Sixteen sums as a tree: i and i + 8, i and i + 4, i and i + 2, the last two.
inline float tree_sum(const Floats (&sums)[1]) noexcept {
    const __m256 eight =
        _mm256_add_ps(_mm512_castps512_ps256(sums[0]), _mm512_extractf32x8_ps(sums[0], 1));
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
inline void prefetch(const uint8_t* bytes, size_t count) noexcept {
    for (size_t i = 0; i < count; i += 64)
        _mm_prefetch(reinterpret_cast<const char*>(bytes + i), _MM_HINT_T0);
}
