#pragma once
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
