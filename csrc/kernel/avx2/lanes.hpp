#pragma once
// AVX2: eight float32 lanes. Needs AVX2 and F16C, never FMA.

using Floats = __m256;
constexpr size_t kLaneCount = 8;
constexpr size_t kPrefetchTokens = 8;
constexpr size_t kHeadVectors = 4;
constexpr size_t kPlainTileVectors = 8;

inline Floats load(const float* numbers) noexcept { return _mm256_loadu_ps(numbers); }
inline Floats load_float32(const uint8_t* bytes) noexcept {
    return _mm256_castsi256_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes)));
}
inline Floats load_float16(const uint8_t* bytes) noexcept {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes)));
}
inline Floats load_bfloat16(const uint8_t* bytes) noexcept {
    const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
}
inline Floats load_int8(const uint8_t* bytes) noexcept {
    const __m128i numbers = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(bytes));
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(numbers));
}
inline void store(float* numbers, Floats x) noexcept { _mm256_storeu_ps(numbers, x); }
inline Floats broadcast(float x) noexcept { return _mm256_set1_ps(x); }
inline Floats add(Floats x, Floats y) noexcept { return _mm256_add_ps(x, y); }
inline Floats sub(Floats x, Floats y) noexcept { return _mm256_sub_ps(x, y); }
inline Floats mul(Floats x, Floats y) noexcept { return _mm256_mul_ps(x, y); }
inline Floats div(Floats x, Floats y) noexcept { return _mm256_div_ps(x, y); }
// sum + x * y, for products that are exact: where lanes can fuse the two, the bits are the same.
inline Floats add_exact_product(Floats sum, Floats x, Floats y) noexcept {
    return _mm256_add_ps(sum, _mm256_mul_ps(x, y));
}
// Which operand a NaN gives is left open.
inline Floats min(Floats x, Floats y) noexcept { return _mm256_min_ps(x, y); }
inline Floats abs(Floats x) noexcept { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x); }
inline Floats copy_sign(Floats magnitude, Floats sign) noexcept {
    return _mm256_or_ps(magnitude, _mm256_and_ps(_mm256_set1_ps(-0.0f), sign));
}
using Mask = __m256;
inline Mask less(Floats x, Floats y) noexcept { return _mm256_cmp_ps(x, y, _CMP_LT_OQ); }
inline Mask either(Mask x, Mask y) noexcept { return _mm256_or_ps(x, y); }
inline bool any(Mask x) noexcept { return _mm256_movemask_ps(x) != 0; }
inline Floats select(Mask mask, Floats yes, Floats no) noexcept {
    return _mm256_blendv_ps(no, yes, mask);
}
// x * 2^n, n being the low bits of `exponent`.
inline Floats add_to_exponent(Floats x, Floats exponent) noexcept {
    const __m256i n = _mm256_slli_epi32(_mm256_castps_si256(exponent), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x), n));
}
// Sixteen sums as a tree: i and i + 8, i and i + 4, i and i + 2, the last two.
inline float tree_sum(const Floats (&sums)[2]) noexcept {
    const __m256 eight = _mm256_add_ps(sums[0], sums[1]);
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
inline void prefetch(const uint8_t* bytes, size_t count) noexcept {
    for (size_t i = 0; i < count; i += 64)
        _mm_prefetch(reinterpret_cast<const char*>(bytes + i), _MM_HINT_T0);
}
