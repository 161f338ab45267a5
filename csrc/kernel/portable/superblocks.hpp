#pragma once
// Rows of superblocks.
constexpr size_t kSuperblockTileUnits = 1;

// q4_k: as with sse_q4, the sixteen weights of a sub-block are computed once and looked up.
struct Q4KCodes {
    const uint8_t* bytes;
};
struct Q4KLookup {
    float weights[16];
};
inline Q4KScales make_q4_k_scales(const Q4KBlock& block) noexcept {
    const Q4KBytes bytes = unpack_q4_k_scales(block.scales);
    const float d = float32_from_float16_at(block.d);
    const float minus_dmin = -float32_from_float16_at(block.dmin);
    Q4KScales scales;
    for (size_t i = 0; i < 8; ++i) {
        scales.scales[i] = d * static_cast<float>(bytes.scales >> 8 * i & 63);
        scales.minus_minima[i] = minus_dmin * static_cast<float>(bytes.minima >> 8 * i & 63);
    }
    return scales;
}
inline Q4KCodes load_q4_k_codes(const uint8_t* bytes) noexcept { return {bytes}; }
template <bool kWeighted>
inline Q4KLookup make_q4_k_lookup(float scale, float minus_minimum, float token_weight) noexcept {
    Q4KLookup lookup;
    for (size_t code = 0; code < 16; ++code) {
        const float weight = static_cast<float>(code) * scale + minus_minimum;
        lookup.weights[code] = kWeighted ? weight * token_weight : weight;
    }
    return lookup;
}
template <bool kWeighted>
inline Floats q4_k_weights(const Q4KLookup& lookup, const Q4KCodes& codes, size_t vector,
                           bool high) noexcept {
    const uint8_t* both = codes.bytes + vector * kLaneCount;
    Floats weights;
    for (size_t i = 0; i < kLaneCount; ++i)
        weights.lane[i] = lookup.weights[high ? both[i] >> 4 : both[i] & 15];
    return weights;
}

// q6_k.
inline Q6KScales make_q6_k_scales(const Q6KBlock& block) noexcept {
    const float d = float32_from_float16_at(block.d);
    Q6KScales scales;
    for (size_t i = 0; i < 16; ++i) scales.scales[i] = d * static_cast<float>(block.scales[i]);
    return scales;
}
inline void unpack_q6_k_unit(const uint8_t* low, const uint8_t* high, bool second,
                             uint8_t* codes) noexcept {
    const int shift = second ? 4 : 0;
    for (size_t i = 0; i < 32; ++i) {
        const int first_quarter = (low[i] >> shift & 15) | (high[i] >> shift & 3) << 4;
        const int last_quarter = (low[32 + i] >> shift & 15) | (high[i] >> shift & 12) << 2;
        codes[i] = static_cast<uint8_t>(first_quarter - 32);
        codes[32 + i] = static_cast<uint8_t>(last_quarter - 32);
    }
}
