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
