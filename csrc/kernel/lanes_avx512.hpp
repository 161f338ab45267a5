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

// sse_q4. `vpermps` looks a float up in sixteen by the low four bits of each 32-bit lane, so a
// load of 64 bytes serves eight lookups, each after its four bits are brought down. A load from
// one or two bytes further on is a shift by 8 or 16, and a 16-bit high multiply by 2^(16-s) is one
// by s: real shifts would compete with the permutes for their ports, as all eight additions would
// among themselves, so one of them is an FMA by 1, which is exact. (Zen 4, one hot row, bags of
// 255: 49 Mtok/s by shifts, 63 by multiplies alone, 74 by all of it.)
// A unit is 64 bytes, 128 dimensions; lane i of lookup k holds dimension 8i + (k ^ 1), since the
// high nibble is the even dimension. Eight sums a unit, two units a tile: sixteen registers.
constexpr size_t kQ4UnitBytes = 64;
constexpr size_t kQ4TileUnits = 2;
constexpr bool kQ4KeepsWeights = false;
struct Q4Unit {
    __m512 sums[8];  // sums[j], lane i: dimension 8i + j
};
struct Q4Weights {
    __m512 in_order;
};
using Q4Lookup = __m512;
inline Q4Unit zero_q4_unit() noexcept {
    Q4Unit unit;
    for (__m512& sums : unit.sums) sums = _mm512_setzero_ps();
    return unit;
}

// The sums, [j][i], are stored as [i][j]: shuffling the two halves of the 128 together, like a deck
// of cards, moves one bit of j behind those of i, and j has three. Loading deals them out again.
inline Q4Unit load_q4_unit(const float* sums) noexcept {
    const __m512i even =
        _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i odd = _mm512_or_si512(even, _mm512_set1_epi32(1));
    Q4Unit unit;
    for (size_t v = 0; v < 8; ++v) unit.sums[v] = _mm512_loadu_ps(sums + 16 * v);
    for (size_t bit = 0; bit < 3; ++bit) {
        const Q4Unit deck = unit;
        for (size_t v = 0; v < 4; ++v) {
            const __m512 first = deck.sums[2 * v];
            const __m512 second = deck.sums[2 * v + 1];
            unit.sums[v] = _mm512_permutex2var_ps(first, even, second);
            unit.sums[v + 4] = _mm512_permutex2var_ps(first, odd, second);
        }
    }
    return unit;
}
inline void store_q4_unit(float* sums, Q4Unit unit) noexcept {
    const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const __m512i high = _mm512_or_si512(low, _mm512_set1_epi32(8));
    for (size_t bit = 0; bit < 3; ++bit) {
        const Q4Unit halves = unit;
        for (size_t v = 0; v < 4; ++v) {
            const __m512 first = halves.sums[v];
            const __m512 second = halves.sums[v + 4];
            unit.sums[2 * v] = _mm512_permutex2var_ps(first, low, second);
            unit.sums[2 * v + 1] = _mm512_permutex2var_ps(first, high, second);
        }
    }
    for (size_t v = 0; v < 8; ++v) _mm512_storeu_ps(sums + 16 * v, unit.sums[v]);
}
inline Q4Weights make_q4_weights(float scale, const float* token_weight) noexcept {
    __m512 weights = mul(_mm512_load_ps(kQ4Levels), broadcast(scale));
    if (token_weight) weights = mul(weights, broadcast(*token_weight));
    return {weights};
}
inline Q4Lookup load_q4_lookup(const Q4Weights& weights) noexcept { return weights.in_order; }
inline __m512 q4_lookup(Q4Lookup lookup, __m512i codes) noexcept {
    return _mm512_permutexvar_ps(codes, lookup);
}
inline void add_q4_unit(Q4Unit& unit, const uint8_t* codes, const Q4Lookup& lookup) noexcept {
    const __m512i bytes_0 = _mm512_loadu_si512(codes);
    const __m512i bytes_1 = _mm512_loadu_si512(codes + 1);
    const __m512i bytes_2 = _mm512_loadu_si512(codes + 2);
    const __m512i by_4 = _mm512_set1_epi16(1 << 12);
    const __m512i by_8 = _mm512_set1_epi16(1 << 8);
    const __m512i by_12 = _mm512_set1_epi16(1 << 4);
    const __m512 one = _mm512_set1_ps(1.0f);
    __m512* sums = unit.sums;
    sums[1] = add(sums[1], q4_lookup(lookup, bytes_0));
    sums[0] = _mm512_fmadd_ps(q4_lookup(lookup, _mm512_mulhi_epu16(bytes_0, by_4)), one, sums[0]);
    sums[3] = add(sums[3], q4_lookup(lookup, bytes_1));
    sums[2] = add(sums[2], q4_lookup(lookup, _mm512_mulhi_epu16(bytes_1, by_4)));
    sums[5] = add(sums[5], q4_lookup(lookup, bytes_2));
    sums[4] = add(sums[4], q4_lookup(lookup, _mm512_mulhi_epu16(bytes_2, by_4)));
    sums[7] = add(sums[7], q4_lookup(lookup, _mm512_mulhi_epu16(bytes_2, by_8)));
    sums[6] = add(sums[6], q4_lookup(lookup, _mm512_mulhi_epu16(bytes_2, by_12)));
}

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
    const __m128i head = _mm_loadu_si128(reinterpret_cast<const __m128i*>(&block));
    // As `unpack_q4_k_scales`, on words: scales 0 to 3, 4 to 7, minima 0 to 3, 4 to 7.
    const __m128i first = _mm_srlv_epi32(_mm_shuffle_epi32(head, _MM_SHUFFLE(2, 2, 1, 1)),
                                         _mm_setr_epi32(0, 2, 0, 2));
    const __m128i last = _mm_srlv_epi32(_mm_shuffle_epi32(head, _MM_SHUFFLE(3, 3, 3, 3)),
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
    const __m256i halves = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(head), halves_of_lanes);
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

// Text, 64 bytes at a time.
using TextBytes = __m512i;
// The first `count` bytes, 1 to 64, then zeros. Nothing past them is read.
inline TextBytes load_text(const uint8_t* text, size_t count) noexcept {
    return _mm512_maskz_loadu_epi8(~uint64_t{0} >> (64 - count), text);
}
inline void store_text(uint8_t* text, TextBytes bytes) noexcept {
    _mm512_storeu_si512(text, bytes);
}
// A bit for each byte: first <= byte <= last.
inline uint64_t mask_between(TextBytes bytes, char first, char last) noexcept {
    const __m512i above = _mm512_sub_epi8(bytes, _mm512_set1_epi8(first));
    return _mm512_cmple_epu8_mask(above, _mm512_set1_epi8(static_cast<char>(last - first)));
}
inline TextBytes set_bit_5(TextBytes bytes) noexcept {
    return _mm512_or_si512(bytes, _mm512_set1_epi8(0x20));
}
inline TextBytes lower_ascii(TextBytes bytes) noexcept {
    return _mm512_mask_add_epi8(bytes, mask_between(bytes, 'A', 'Z'), bytes,
                                _mm512_set1_epi8(0x20));
}
