#pragma once
// Rows of superblocks: a tile is a whole one, 256 dimensions in sixteen registers.
constexpr size_t kSuperblockTileUnits = 4;

// q4_k. As with sse_q4 the sixteen weights of a sub-block are computed once and looked up by the
// low four bits of each 32-bit lane; again a high multiply by 2^12 is the cheaper shift by 4. Bytes
// are widened rather than used in place, eight codes a lane, because a sub-block is but two
// vectors. A multiplication and an addition take their factors from memory in all lanes for
// nothing, where a fused one needs a broadcast, which competes with the lookups (Zen 4: 39 instead
// of 34 Mtok/s on one hot row).
struct Q4KCodes {
    __m512i both[2];  // in a lane the low nibble, and the high one above it
};
struct Q4KLookup {
    __m512 weights;
};
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
    // d to the lanes of the scales, -dmin to those of the minima.
    const __m256i halves_of_lanes =
        _mm256_setr_epi8(0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1,  //
                         2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3);
    const __m256i signs = _mm256_setr_epi64x(0, 0, static_cast<int64_t>(0x8000800080008000),
                                             static_cast<int64_t>(0x8000800080008000));
    const __m256i halves =
        _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(beginning), halves_of_lanes);
    const __m512 factors = _mm512_cvtph_ps(_mm256_xor_si256(halves, signs));
    Q4KScales scales;
    _mm512_store_ps(scales.scales, mul(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(numbers)), factors));
    return scales;
}
inline Q4KCodes load_q4_k_codes(const uint8_t* bytes) noexcept {
    const auto* halves = reinterpret_cast<const __m128i*>(bytes);
    return {{_mm512_cvtepu8_epi32(_mm_loadu_si128(halves)),
             _mm512_cvtepu8_epi32(_mm_loadu_si128(halves + 1))}};
}
template <bool kWeighted>
inline Q4KLookup make_q4_k_lookup(float scale, float minus_minimum, float token_weight) noexcept {
    const __m512 codes = _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512 weights = add(mul(codes, broadcast(scale)), broadcast(minus_minimum));
    return {kWeighted ? mul(weights, broadcast(token_weight)) : weights};
}
template <bool kWeighted>
inline Floats q4_k_weights(const Q4KLookup& lookup, const Q4KCodes& codes, size_t vector,
                           bool high) noexcept {
    const __m512i both = codes.both[vector];
    return _mm512_permutexvar_ps(high ? _mm512_mulhi_epu16(both, _mm512_set1_epi32(1 << 12)) : both,
                                 lookup.weights);
}

// q6_k.
inline Q6KScales make_q6_k_scales(const Q6KBlock& block) noexcept {
    int16_t half;
    memcpy(&half, block.d, sizeof half);
    Q6KScales scales;
    _mm512_store_ps(scales.scales, mul(load_int8(reinterpret_cast<const uint8_t*>(block.scales)),
                                       _mm512_cvtph_ps(_mm256_set1_epi16(half))));
    return scales;
}
inline void unpack_q6_k_unit(const uint8_t* low, const uint8_t* high, bool second,
                             uint8_t* codes) noexcept {
    // The upper two bits of either quarter to bits 4 and 5. What a rotation carries into another
    // byte lands beside these.
    const __m512i left = second ? _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0,  //
                                                    30, 30, 30, 30, 30, 30, 30, 30)
                                : _mm512_setr_epi32(4, 4, 4, 4, 4, 4, 4, 4,  //
                                                    2, 2, 2, 2, 2, 2, 2, 2);
    const __m512i high_bytes =
        _mm512_broadcast_i64x4(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(high)));
    const __m512i upper = _mm512_rolv_epi32(high_bytes, left);
    __m512i lower = _mm512_loadu_si512(low);
    if (second) lower = _mm512_srli_epi16(lower, 4);
    // 0xca: where a bit of the first is set the second's, else the third's.
    const __m512i either = _mm512_ternarylogic_epi32(_mm512_set1_epi8(15), lower, upper, 0xca);
    const __m512i code = _mm512_and_si512(either, _mm512_set1_epi8(63));
    _mm512_store_si512(codes, _mm512_sub_epi8(code, _mm512_set1_epi8(32)));
}
