#pragma once
// Sixteen lanes in plain C++, left to the compiler's own vectors.

struct Floats {
    float lane[16];
};
constexpr size_t kLaneCount = 16;
constexpr size_t kPrefetchTokens = 8;
constexpr size_t kHeadVectors = 1;
constexpr size_t kPlainTileVectors = 4;

inline Floats load(const float* numbers) noexcept {
    Floats x;
    memcpy(x.lane, numbers, sizeof x);
    return x;
}
inline Floats load_float32(const uint8_t* bytes) noexcept {
    Floats x;
    memcpy(x.lane, bytes, sizeof x);
    return x;
}
inline Floats load_float16(const uint8_t* bytes) noexcept {
    Floats x;
    for (size_t i = 0; i < kLaneCount; ++i) {
        uint16_t half;
        memcpy(&half, bytes + 2 * i, sizeof half);
        x.lane[i] = float32_from_float16(half);
    }
    return x;
}
inline Floats load_bfloat16(const uint8_t* bytes) noexcept {
    Floats x;
    for (size_t i = 0; i < kLaneCount; ++i) {
        uint16_t half;
        memcpy(&half, bytes + 2 * i, sizeof half);
        x.lane[i] = float32_from_bfloat16(half);
    }
    return x;
}
inline Floats load_int8(const uint8_t* bytes) noexcept {
    int8_t numbers[kLaneCount];
    memcpy(numbers, bytes, sizeof numbers);
    Floats x;
    for (size_t i = 0; i < kLaneCount; ++i) x.lane[i] = static_cast<float>(numbers[i]);
    return x;
}
inline void store(float* numbers, const Floats& x) noexcept { memcpy(numbers, x.lane, sizeof x); }
inline Floats broadcast(float x) noexcept {
    Floats y;
    for (float& lane : y.lane) lane = x;
    return y;
}
inline Floats add(Floats x, const Floats& y) noexcept {
    for (size_t i = 0; i < kLaneCount; ++i) x.lane[i] += y.lane[i];
    return x;
}
inline Floats sub(Floats x, const Floats& y) noexcept {
    for (size_t i = 0; i < kLaneCount; ++i) x.lane[i] -= y.lane[i];
    return x;
}
inline Floats mul(Floats x, const Floats& y) noexcept {
    for (size_t i = 0; i < kLaneCount; ++i) x.lane[i] *= y.lane[i];
    return x;
}
inline Floats div(Floats x, const Floats& y) noexcept {
    for (size_t i = 0; i < kLaneCount; ++i) x.lane[i] /= y.lane[i];
    return x;
}
// sum + x * y, for products that are exact: where lanes can fuse the two, the bits are the same.
inline Floats add_exact_product(const Floats& sum, const Floats& x, const Floats& y) noexcept {
    return add(sum, mul(x, y));
}
// Which operand a NaN gives is left open.
inline Floats min(Floats x, const Floats& y) noexcept {
    for (size_t i = 0; i < kLaneCount; ++i)
        x.lane[i] = x.lane[i] < y.lane[i] ? x.lane[i] : y.lane[i];
    return x;
}
inline Floats abs(Floats x) noexcept {
    for (float& lane : x.lane) lane = fabsf(lane);
    return x;
}
inline Floats copy_sign(Floats magnitude, const Floats& sign) noexcept {
    for (size_t i = 0; i < kLaneCount; ++i)
        magnitude.lane[i] = copysignf(magnitude.lane[i], sign.lane[i]);
    return magnitude;
}
struct Mask {
    bool lane[kLaneCount];
};
inline Mask less(const Floats& x, const Floats& y) noexcept {
    Mask mask;
    for (size_t i = 0; i < kLaneCount; ++i) mask.lane[i] = x.lane[i] < y.lane[i];
    return mask;
}
inline Mask either(Mask x, const Mask& y) noexcept {
    for (size_t i = 0; i < kLaneCount; ++i) x.lane[i] |= y.lane[i];
    return x;
}
inline bool any(const Mask& mask) noexcept {
    bool set = false;
    for (const bool lane : mask.lane) set |= lane;
    return set;
}
inline Floats select(const Mask& mask, Floats yes, const Floats& no) noexcept {
    for (size_t i = 0; i < kLaneCount; ++i) yes.lane[i] = mask.lane[i] ? yes.lane[i] : no.lane[i];
    return yes;
}
// x * 2^n, n being the low bits of `exponent`.
inline Floats add_to_exponent(Floats x, const Floats& exponent) noexcept {
    for (size_t i = 0; i < kLaneCount; ++i) {
        uint32_t bits, n;
        memcpy(&bits, &x.lane[i], sizeof bits);
        memcpy(&n, &exponent.lane[i], sizeof n);
        bits += n << 23;
        memcpy(&x.lane[i], &bits, sizeof bits);
    }
    return x;
}
// Sixteen sums as a tree: i and i + 8, i and i + 4, i and i + 2, the last two.
inline float tree_sum(const Floats (&sums)[1]) noexcept {
    Floats x = sums[0];
    for (size_t half = kLaneCount / 2; half > 0; half /= 2)
        for (size_t i = 0; i < half; ++i) x.lane[i] += x.lane[i + half];
    return x.lane[0];
}
inline void prefetch(const uint8_t*, size_t) noexcept {}

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

// Text, 64 bytes at a time: eight bytes in a word of 64 bits, in which sums of 7-bit numbers do not
// carry into the next byte.
struct TextBytes {
    uint64_t word[8];
};
constexpr uint64_t kEachByte = 0x0101010101010101;
// The first `count` bytes, 1 to 64, then zeros. Nothing past them is read.
inline TextBytes load_text(const uint8_t* text, size_t count) noexcept {
    TextBytes bytes = {};
    memcpy(bytes.word, text, count);
    return bytes;
}
inline void store_text(uint8_t* text, const TextBytes& bytes) noexcept {
    memcpy(text, bytes.word, sizeof bytes);
}
// Bit 7 of each byte: first <= byte <= last, which are ASCII.
inline uint64_t high_bits_between(uint64_t bytes, char first, char last) noexcept {
    const uint64_t low = bytes & 0x7f * kEachByte;
    const uint64_t reaches_first = low + (0x80 - static_cast<uint64_t>(first)) * kEachByte;
    const uint64_t passes_last = low + (0x7f - static_cast<uint64_t>(last)) * kEachByte;
    return reaches_first & ~passes_last & ~bytes & 0x80 * kEachByte;
}
// A bit for each byte: first <= byte <= last.
inline uint64_t mask_between(const TextBytes& bytes, char first, char last) noexcept {
    uint64_t mask = 0;
    for (size_t i = 0; i < 8; ++i) {
        const uint64_t bits = high_bits_between(bytes.word[i], first, last) >> 7;
        mask |= (bits * 0x0102040810204080 >> 56) << 8 * i;  // gathers eight bits in the top byte
    }
    return mask;
}
inline TextBytes set_bit_5(TextBytes bytes) noexcept {
    for (uint64_t& word : bytes.word) word |= 0x20 * kEachByte;
    return bytes;
}
inline TextBytes lower_ascii(TextBytes bytes) noexcept {
    for (uint64_t& word : bytes.word) word |= high_bits_between(word, 'A', 'Z') >> 2;
    return bytes;
}
