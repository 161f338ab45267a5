#pragma once

#include <stddef.h>
#include <string.h>

#if defined(__SSE2__) || defined(_M_X64)
#include <emmintrin.h>
#elif defined(__aarch64__) || defined(_M_ARM64)
#include <arm_neon.h>
#endif

// Eight float32 lanes of the baseline CPU. A search tries eight scales, or the scales of eight
// sub-blocks, side by side: a lane never meets its neighbours, so the bits of a lane are those of
// plain float32 arithmetic on every CPU.
namespace nibblevec {

#if defined(__SSE2__) || defined(_M_X64)

using FourFloats = __m128;

inline FourFloats load_four(const float* numbers) noexcept { return _mm_loadu_ps(numbers); }
inline FourFloats four_of(float number) noexcept { return _mm_set1_ps(number); }
inline void store_four(float* numbers, FourFloats x) noexcept { _mm_storeu_ps(numbers, x); }
inline FourFloats add(FourFloats x, FourFloats y) noexcept { return _mm_add_ps(x, y); }
inline FourFloats sub(FourFloats x, FourFloats y) noexcept { return _mm_sub_ps(x, y); }
inline FourFloats mul(FourFloats x, FourFloats y) noexcept { return _mm_mul_ps(x, y); }
inline FourFloats div(FourFloats x, FourFloats y) noexcept { return _mm_div_ps(x, y); }
inline FourFloats min_of(FourFloats x, FourFloats y) noexcept { return _mm_min_ps(x, y); }
inline FourFloats max_of(FourFloats x, FourFloats y) noexcept { return _mm_max_ps(x, y); }
inline FourFloats where_less(FourFloats x, FourFloats y, FourFloats yes, FourFloats no) noexcept {
    const FourFloats mask = _mm_cmplt_ps(x, y);
    return _mm_or_ps(_mm_and_ps(mask, yes), _mm_andnot_ps(mask, no));
}

#elif defined(__aarch64__) || defined(_M_ARM64)

using FourFloats = float32x4_t;

inline FourFloats load_four(const float* numbers) noexcept { return vld1q_f32(numbers); }
inline FourFloats four_of(float number) noexcept { return vdupq_n_f32(number); }
inline void store_four(float* numbers, FourFloats x) noexcept { vst1q_f32(numbers, x); }
inline FourFloats add(FourFloats x, FourFloats y) noexcept { return vaddq_f32(x, y); }
inline FourFloats sub(FourFloats x, FourFloats y) noexcept { return vsubq_f32(x, y); }
inline FourFloats mul(FourFloats x, FourFloats y) noexcept { return vmulq_f32(x, y); }
inline FourFloats div(FourFloats x, FourFloats y) noexcept { return vdivq_f32(x, y); }
inline FourFloats min_of(FourFloats x, FourFloats y) noexcept { return vminq_f32(x, y); }
inline FourFloats max_of(FourFloats x, FourFloats y) noexcept { return vmaxq_f32(x, y); }
inline FourFloats where_less(FourFloats x, FourFloats y, FourFloats yes, FourFloats no) noexcept {
    return vbslq_f32(vcltq_f32(x, y), yes, no);
}

#else

struct FourFloats {
    float lane[4];
};

template <typename Operation>
FourFloats each_of_four(Operation operation) noexcept {
    return {{operation(0), operation(1), operation(2), operation(3)}};
}
inline FourFloats load_four(const float* numbers) noexcept {
    return each_of_four([&](size_t i) { return numbers[i]; });
}
inline FourFloats four_of(float number) noexcept { return {{number, number, number, number}}; }
inline void store_four(float* numbers, const FourFloats& x) noexcept {
    memcpy(numbers, x.lane, sizeof x.lane);
}
inline FourFloats add(const FourFloats& x, const FourFloats& y) noexcept {
    return each_of_four([&](size_t i) { return x.lane[i] + y.lane[i]; });
}
inline FourFloats sub(const FourFloats& x, const FourFloats& y) noexcept {
    return each_of_four([&](size_t i) { return x.lane[i] - y.lane[i]; });
}
inline FourFloats mul(const FourFloats& x, const FourFloats& y) noexcept {
    return each_of_four([&](size_t i) { return x.lane[i] * y.lane[i]; });
}
inline FourFloats div(const FourFloats& x, const FourFloats& y) noexcept {
    return each_of_four([&](size_t i) { return x.lane[i] / y.lane[i]; });
}
inline FourFloats min_of(const FourFloats& x, const FourFloats& y) noexcept {
    return each_of_four([&](size_t i) { return x.lane[i] < y.lane[i] ? x.lane[i] : y.lane[i]; });
}
inline FourFloats max_of(const FourFloats& x, const FourFloats& y) noexcept {
    return each_of_four([&](size_t i) { return x.lane[i] > y.lane[i] ? x.lane[i] : y.lane[i]; });
}
inline FourFloats where_less(const FourFloats& x, const FourFloats& y, const FourFloats& yes,
                             const FourFloats& no) noexcept {
    return each_of_four([&](size_t i) { return x.lane[i] < y.lane[i] ? yes.lane[i] : no.lane[i]; });
}

#endif

constexpr size_t kLaneCount = 8;

struct Lanes {
    FourFloats first, last;

    Lanes() = default;
    Lanes(FourFloats first_four, FourFloats last_four) : first(first_four), last(last_four) {}
    explicit Lanes(const float (&numbers)[kLaneCount])
        : first(load_four(numbers)), last(load_four(numbers + 4)) {}
    // The same number in every lane.
    Lanes(float number) : first(four_of(number)), last(first) {}
    void store(float (&numbers)[kLaneCount]) const {
        store_four(numbers, first);
        store_four(numbers + 4, last);
    }
};

inline Lanes operator+(const Lanes& x, const Lanes& y) noexcept {
    return {add(x.first, y.first), add(x.last, y.last)};
}
inline Lanes operator-(const Lanes& x, const Lanes& y) noexcept {
    return {sub(x.first, y.first), sub(x.last, y.last)};
}
inline Lanes operator*(const Lanes& x, const Lanes& y) noexcept {
    return {mul(x.first, y.first), mul(x.last, y.last)};
}
inline Lanes operator/(const Lanes& x, const Lanes& y) noexcept {
    return {div(x.first, y.first), div(x.last, y.last)};
}
// Neither of min, max and where_less may meet a NaN.
inline Lanes min(const Lanes& x, const Lanes& y) noexcept {
    return {min_of(x.first, y.first), min_of(x.last, y.last)};
}
inline Lanes max(const Lanes& x, const Lanes& y) noexcept {
    return {max_of(x.first, y.first), max_of(x.last, y.last)};
}
inline Lanes clamp(const Lanes& x, const Lanes& least, const Lanes& most) noexcept {
    return min(max(x, least), most);
}
// x < y ? yes : no
inline Lanes where_less(const Lanes& x, const Lanes& y, const Lanes& yes,
                        const Lanes& no) noexcept {
    return {where_less(x.first, y.first, yes.first, no.first),
            where_less(x.last, y.last, yes.last, no.last)};
}
// The nearest whole number, half to even, for |x| <= 2^22: 1.5 * 2^23 leaves no bits for a
// fraction. The baseline of x86-64 has no instruction for it.
inline Lanes round(const Lanes& x) noexcept {
    const Lanes shift = 12582912.0f;
    return (x + shift) - shift;
}
inline Lanes abs(const Lanes& x) noexcept { return max(x, 0.0f - x); }

// In the order of the lanes.
inline float sum_of(const Lanes& x) noexcept {
    float numbers[kLaneCount];
    x.store(numbers);
    float sum = 0.0f;
    for (const float number : numbers) sum += number;
    return sum;
}
inline float largest_of(const Lanes& x) noexcept {
    float numbers[kLaneCount];
    x.store(numbers);
    float largest = numbers[0];
    for (const float number : numbers) largest = number > largest ? number : largest;
    return largest;
}

}  // namespace nibblevec
