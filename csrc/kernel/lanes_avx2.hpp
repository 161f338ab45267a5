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

// Text, 64 bytes at a time.
struct TextBytes {
    __m256i half[2];
};
// The first `count` bytes, 1 to 64, then zeros. Nothing past them is read.
inline TextBytes load_text(const uint8_t* text, size_t count) noexcept {
    alignas(32) uint8_t padded[64];
    if (count < 64) {
        memset(padded, 0, sizeof padded);
        memcpy(padded, text, count);
        text = padded;
    }
    return {{_mm256_loadu_si256(reinterpret_cast<const __m256i*>(text)),
             _mm256_loadu_si256(reinterpret_cast<const __m256i*>(text + 32))}};
}
inline void store_text(uint8_t* text, const TextBytes& bytes) noexcept {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(text), bytes.half[0]);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(text + 32), bytes.half[1]);
}
// 0xff where first <= byte <= last: there the distance from `first`, unsigned, is not cut by min.
inline __m256i bytes_between(__m256i bytes, char first, char last) noexcept {
    const __m256i above = _mm256_sub_epi8(bytes, _mm256_set1_epi8(first));
    const __m256i span = _mm256_set1_epi8(static_cast<char>(last - first));
    return _mm256_cmpeq_epi8(_mm256_min_epu8(above, span), above);
}
// A bit for each byte: first <= byte <= last.
inline uint64_t mask_between(const TextBytes& bytes, char first, char last) noexcept {
    const auto low =
        static_cast<uint32_t>(_mm256_movemask_epi8(bytes_between(bytes.half[0], first, last)));
    const auto high =
        static_cast<uint32_t>(_mm256_movemask_epi8(bytes_between(bytes.half[1], first, last)));
    return uint64_t{high} << 32 | low;
}
inline TextBytes set_bit_5(const TextBytes& bytes) noexcept {
    const __m256i bit = _mm256_set1_epi8(0x20);
    return {{_mm256_or_si256(bytes.half[0], bit), _mm256_or_si256(bytes.half[1], bit)}};
}
inline TextBytes lower_ascii(const TextBytes& bytes) noexcept {
    const __m256i bit = _mm256_set1_epi8(0x20);
    TextBytes lower;
    for (size_t i = 0; i < 2; ++i)
        lower.half[i] = _mm256_or_si256(
            bytes.half[i], _mm256_and_si256(bytes_between(bytes.half[i], 'A', 'Z'), bit));
    return lower;
}
