#pragma once
// sse_q4: one unit is 16 bytes, its sums in the order of the dimensions.
constexpr size_t kQ4UnitBytes = 16;
constexpr size_t kQ4TileUnits = 1;
constexpr bool kQ4KeepsWeights = true;
struct Q4Unit {
    float sums[2 * kQ4UnitBytes];
};
using Q4Weights = Q4WeightBytes;
struct Q4Lookup {
    float weights[16];
};
inline Q4Unit zero_q4_unit() noexcept { return {}; }
inline Q4Unit load_q4_unit(const float* sums) noexcept {
    Q4Unit unit;
    memcpy(unit.sums, sums, sizeof unit);
    return unit;
}
inline void store_q4_unit(float* sums, const Q4Unit& unit) noexcept {
    memcpy(sums, unit.sums, sizeof unit);
}
inline Q4Weights make_q4_weights(float scale, const float* token_weight) noexcept {
    Floats weights = mul(load(kQ4Levels), broadcast(scale));
    if (token_weight) weights = mul(weights, broadcast(*token_weight));
    Q4Weights packed;
    memcpy(packed.bytes, weights.lane, sizeof packed);
    return packed;
}
inline Q4Lookup load_q4_lookup(const Q4Weights& packed) noexcept {
    Q4Lookup lookup;
    memcpy(lookup.weights, packed.bytes, sizeof lookup);
    return lookup;
}
inline void add_q4_unit(Q4Unit& unit, const uint8_t* codes, const Q4Lookup& lookup) noexcept {
    for (size_t i = 0; i < kQ4UnitBytes; ++i) {
        unit.sums[2 * i] += lookup.weights[codes[i] >> 4];
        unit.sums[2 * i + 1] += lookup.weights[codes[i] & 15];
    }
}
