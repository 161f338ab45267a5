#pragma once
// Rows of superblocks.
constexpr size_t kSuperblockTileUnits = 1;

// q4_k: each weight is computed. Sixteen weights of but 32 codes would cost more to split into
// planes of bytes, and to look up, than to multiply and add.
struct Q4KCodes {
    const uint8_t* bytes;
};
struct Q4KLookup {
    __m256 scale, minus_minimum, token_weight;
};
inline __m256 broadcast_float16(const uint8_t* bytes) noexcept {
    int16_t half;
    memcpy(&half, bytes, sizeof half);
    return _mm256_cvtph_ps(_mm_set1_epi16(half));
}
inline Q4KScales make_q4_k_scales(const Q4KBlock& block) noexcept {
    const __m128i beginning = _mm_loadu_si128(reinterpret_cast<const __m128i*>(&block));
    // As `unpack_q4_k_scales`, on words: scales 0 to 3, 4 to 7, minima 0 to 3, 4 to 7.
    const __m128i first = _mm_srlv_epi32(_mm_shuffle_epi32(beginning, _MM_SHUFFLE(2, 2, 1, 1)),
                                         _mm_setr_epi32(0, 2, 0, 2));
    const __m128i last = _mm_srlv_epi32(_mm_shuffle_epi32(beginning, _MM_SHUFFLE(3, 3, 3, 3)),
                                        _mm_setr_epi32(0, 0, 0, 4));
    const __m128i first_bits = _mm_setr_epi32(0x3f3f3f3f, 0x30303030, 0x3f3f3f3f, 0x30303030);
    const __m128i last_bits = _mm_setr_epi32(0, 0x0f0f0f0f, 0, 0x0f0f0f0f);
    const __m128i numbers =
        _mm_or_si128(_mm_and_si128(first, first_bits), _mm_and_si128(last, last_bits));
    const __m256 multiples = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(numbers));
    const __m256 minimum_multiples =
        _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_unpackhi_epi64(numbers, numbers)));
    const __m256 minus_dmin = _mm256_xor_ps(_mm256_set1_ps(-0.0f), broadcast_float16(block.dmin));
    Q4KScales scales;
    _mm256_store_ps(scales.scales, mul(multiples, broadcast_float16(block.d)));
    _mm256_store_ps(scales.minus_minima, mul(minimum_multiples, minus_dmin));
    return scales;
}
inline Q4KCodes load_q4_k_codes(const uint8_t* bytes) noexcept { return {bytes}; }
template <bool kWeighted>
inline Q4KLookup make_q4_k_lookup(float scale, float minus_minimum, float token_weight) noexcept {
    return {broadcast(scale), broadcast(minus_minimum), broadcast(token_weight)};
}
template <bool kWeighted>
inline Floats q4_k_weights(const Q4KLookup& lookup, const Q4KCodes& codes, size_t vector,
                           bool high) noexcept {
    const auto* bytes = reinterpret_cast<const __m128i*>(codes.bytes + vector * kLaneCount);
    const __m256i both = _mm256_cvtepu8_epi32(_mm_loadl_epi64(bytes));
    const __m256i code =
        high ? _mm256_srli_epi32(both, 4) : _mm256_and_si256(both, _mm256_set1_epi32(15));
    const __m256 weights =
        add_exact_product(lookup.minus_minimum, _mm256_cvtepi32_ps(code), lookup.scale);
    return kWeighted ? mul(weights, lookup.token_weight) : weights;
}

// q6_k.
inline Q6KScales make_q6_k_scales(const Q6KBlock& block) noexcept {
    const auto* bytes = reinterpret_cast<const uint8_t*>(block.scales);
    const __m256 d = broadcast_float16(block.d);
    Q6KScales scales;
    _mm256_store_ps(scales.scales, mul(load_int8(bytes), d));
    _mm256_store_ps(scales.scales + 8, mul(load_int8(bytes + 8), d));
    return scales;
}
inline void unpack_q6_k_unit(const uint8_t* low, const uint8_t* high, bool second,
                             uint8_t* codes) noexcept {
    const auto* lower = reinterpret_cast<const __m256i*>(low);
    auto* code = reinterpret_cast<__m256i*>(codes);
    __m256i first = _mm256_loadu_si256(lower);
    __m256i last = _mm256_loadu_si256(lower + 1);
    __m256i upper = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(high));
    // The upper bits of both quarters to bits 4 and 5, and to bits 6 and 7.
    if (second) {
        first = _mm256_srli_epi16(first, 4);
        last = _mm256_srli_epi16(last, 4);
    } else {
        upper = _mm256_slli_epi16(upper, 4);
    }
    const __m256i nibble = _mm256_set1_epi8(15);
    const __m256i place = _mm256_set1_epi8(0x30);
    const __m256i minus_32 = _mm256_set1_epi8(-32);
    first = _mm256_or_si256(_mm256_and_si256(first, nibble), _mm256_and_si256(upper, place));
    upper = _mm256_srli_epi16(upper, 2);
    last = _mm256_or_si256(_mm256_and_si256(last, nibble), _mm256_and_si256(upper, place));
    _mm256_store_si256(code, _mm256_add_epi8(first, minus_32));
    _mm256_store_si256(code + 1, _mm256_add_epi8(last, minus_32));
}
