#include "quantize/q4_k.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "quantize/float16.hpp"
#include "quantize/lanes.hpp"
#include "rows/q4_k.hpp"

// The eight sub-blocks of a superblock are the eight lanes. A sub-block is `code * scale + low`,
// low being the weight of code 0; in the file they are d * (0 to 63) and -dmin * (0 to 63).
//
// The errors have many small dips, because all codes of a sub-block move with its scale and low:
// so the search tries many pairs near the best straight line rather than one, and tries them as the
// file holds them. Only squared errors of the decoded weights are compared.
namespace nibblevec {

namespace {

constexpr size_t kSubBlockDims = Q4KBlock::kSubBlockDims;
constexpr float kCodes = 15.0f;
constexpr float kLargestStep = 63.0f;  // six bits
// Instead of a scale of zero, whose codes do not matter: its inverse is finite.
constexpr float kLeastScale = 1e-30f;

struct Superblock {
    Lanes weights[kSubBlockDims];
    Lanes sums, least, most;
    // Where `low` may lie: at or below zero, as dmin times the minima is subtracted; or, if all
    // weights are positive, at or above it, with a negative dmin.
    Lanes lowest, highest;
    float dmin_sign;
};

struct Line {
    Lanes scale, low;
};

// A superblock in the file, apart from its codes.
struct Steps {
    float d = 0.0f, dmin = 0.0f;
    Lanes scales = 0.0f, minima = 0.0f;
    float error = std::numeric_limits<float>::infinity();

    Line line() const { return {d * scales, 0.0f - dmin * minima}; }
};

Superblock load(const float* weights) noexcept {
    Superblock block;
    for (size_t i = 0; i < kSubBlockDims; ++i) {
        float column[kLaneCount];
        for (size_t lane = 0; lane < kLaneCount; ++lane)
            column[lane] = weights[lane * kSubBlockDims + i];
        block.weights[i] = Lanes(column);
    }
    block.sums = 0.0f;
    block.least = block.most = block.weights[0];
    for (const Lanes& weight : block.weights) {
        block.sums = block.sums + weight;
        block.least = min(block.least, weight);
        block.most = max(block.most, weight);
    }
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    const bool all_positive = largest_of(0.0f - block.least) < 0.0f;
    block.lowest = all_positive ? 0.0f : -kInfinity;
    block.highest = all_positive ? kInfinity : 0.0f;
    block.dmin_sign = all_positive ? -1.0f : 1.0f;
    return block;
}

Lanes inverse_of(const Lanes& scale) noexcept { return 1.0f / max(scale, kLeastScale); }

Lanes code_of(const Lanes& height, const Lanes& inverse_scale) noexcept {
    return round(clamp(height * inverse_scale, 0.0f, kCodes));
}

Lanes errors_of(const Superblock& block, const Line& line) noexcept {
    const Lanes inverse = inverse_of(line.scale);
    Lanes errors = 0.0f;
    for (const Lanes& weight : block.weights) {
        const Lanes height = weight - line.low;
        const Lanes error = height - code_of(height, inverse) * line.scale;
        errors = errors + error * error;
    }
    return errors;
}

// Replaces the line by that of least squares through its own codes; returns the error.
Lanes fit(const Superblock& block, Line& line) noexcept {
    constexpr float kCount = kSubBlockDims;
    const Lanes inverse = inverse_of(line.scale);
    Lanes codes[kSubBlockDims];
    Lanes sum = 0.0f, squares = 0.0f, products = 0.0f;
    for (size_t i = 0; i < kSubBlockDims; ++i) {
        const Lanes code = code_of(block.weights[i] - line.low, inverse);
        codes[i] = code;
        sum = sum + code;
        squares = squares + code * code;
        products = products + code * block.weights[i];
    }
    // Sums of codes and of their squares are whole numbers below 2^24, so these are exact, and
    // at least 1 where not all codes are equal.
    const Lanes determinant = max(kCount * squares - sum * sum, 1.0f);
    const Lanes slope = (kCount * products - sum * block.sums) / determinant;
    const Lanes intercept = (block.sums - slope * sum) * (1.0f / kCount);
    const Lanes low = clamp(intercept, block.lowest, block.highest);
    const Lanes through_zero = products / max(squares, 1.0f);
    const Lanes moved = abs(low - intercept);
    line.scale = max(where_less(0.0f, moved, through_zero, slope), 0.0f);
    line.low = low;
    Lanes errors = 0.0f;
    for (size_t i = 0; i < kSubBlockDims; ++i) {
        const Lanes error = block.weights[i] - (codes[i] * line.scale + line.low);
        errors = errors + error * error;
    }
    return errors;
}

// From one end of a sub-block to the other, as plain rounding does.
Line ends_of(const Superblock& block) noexcept {
    const Lanes low = clamp(block.least, block.lowest, block.highest);
    return {(block.most - low) * (1.0f / kCodes), low};
}

// The best of some lines that cut off the ends, or reach beyond them, by up to two codes in all,
// each improved by least squares, the best twice more.
Line best_line(const Superblock& block) noexcept {
    constexpr float kSpans[] = {14.0f, 14.6f, 15.2f, 15.8f, 16.3f, 16.8f, 17.4f, 18.0f};
    constexpr size_t kImprovements = 2;
    Line best = {0.0f, 0.0f};
    Lanes least_error = std::numeric_limits<float>::infinity();
    const Lanes middle = 0.5f * block.most + 0.5f * block.least;
    const Lanes length = block.most - block.least;
    const auto consider = [&](Line line) {
        const Lanes error = fit(block, line);
        best.scale = where_less(error, least_error, line.scale, best.scale);
        best.low = where_less(error, least_error, line.low, best.low);
        least_error = min(error, least_error);
    };
    for (const float span : kSpans) {
        const Lanes scale = length * (1.0f / span);
        consider({scale, clamp(middle - 0.5f * kCodes * scale, block.lowest, block.highest)});
    }
    for (size_t i = 0; i < kImprovements; ++i) consider(best);
    return best;
}

// 0 to 63 steps of `unit`; no unit, no steps.
Lanes steps_of(const Lanes& numbers, float unit) noexcept {
    const float inverse = unit == 0.0f ? 0.0f : 1.0f / unit;
    return round(clamp(numbers * inverse, 0.0f, kLargestStep));
}

// Pairs of a scale and a minimum are looked for within this many steps of a centre.
struct Window {
    int scales, minima;
    // A larger scale takes a lower minimum with it, so that the middle of the codes stays.
    bool keeps_middle;
};

// Finds the best pair for each sub-block near `line`; replaces `best` where it is better.
bool improve(const Superblock& block, float d, float dmin, const Line& line, const Window& window,
             Steps& best) noexcept {
    Steps steps;
    steps.d = d;
    steps.dmin = dmin;
    Lanes least_errors = steps.error;
    const Lanes centre = steps_of(line.scale, d);
    for (int i = -window.scales; i <= window.scales; ++i) {
        const Lanes scales = clamp(centre + static_cast<float>(i), 0.0f, kLargestStep);
        const Lanes growth = window.keeps_middle ? d * scales - line.scale : 0.0f;
        const Lanes minimum = steps_of(0.5f * kCodes * growth - line.low, dmin);
        for (int j = -window.minima; j <= window.minima; ++j) {
            const Lanes minima = clamp(minimum + static_cast<float>(j), 0.0f, kLargestStep);
            const Lanes errors = errors_of(block, {d * scales, 0.0f - dmin * minima});
            steps.scales = where_less(errors, least_errors, scales, steps.scales);
            steps.minima = where_less(errors, least_errors, minima, steps.minima);
            least_errors = min(errors, least_errors);
        }
    }
    steps.error = sum_of(least_errors);
    if (!(steps.error < best.error)) return false;
    best = steps;
    return true;
}

// d and dmin of least squares for the codes, scales and minima that were chosen, as float16; false
// where these do not tell them.
bool fit_units(const Superblock& block, const Steps& steps, float* d, float* dmin) noexcept {
    const Line line = steps.line();
    const Lanes inverse = inverse_of(line.scale);
    Lanes codes = 0.0f, squares = 0.0f, products = 0.0f;
    for (const Lanes& weight : block.weights) {
        const Lanes code = code_of(weight - line.low, inverse);
        codes = codes + code;
        squares = squares + code * code;
        products = products + code * weight;
    }
    // weight = d * (scale * code) - dmin * minimum
    const Lanes& scales = steps.scales;
    const Lanes& minima = steps.minima;
    constexpr float kCount = kSubBlockDims;
    const double dd = sum_of(scales * scales * squares);
    const double dm = sum_of(scales * minima * codes);
    const double mm = sum_of(minima * minima * kCount);
    const double dw = sum_of(scales * products);
    const double mw = sum_of(minima * block.sums);
    const double determinant = dd * mm - dm * dm;
    double new_d = 0.0, new_dmin = 0.0;
    if (determinant > 1e-6 * dd * mm) {
        new_d = (dw * mm - mw * dm) / determinant;
        new_dmin = (dw * dm - mw * dd) / determinant;
    } else if (mm > 0.0) {
        new_dmin = -mw / mm;
    } else if (dd > 0.0) {
        new_d = dw / dd;
    }
    if (new_d < 0.0 || new_dmin * block.dmin_sign < 0.0) return false;
    *d = nearest_float16(static_cast<float>(new_d));
    *dmin = nearest_float16(static_cast<float>(new_dmin));
    return *d != steps.d || *dmin != steps.dmin;
}

Steps search(const Superblock& block) noexcept {
    constexpr size_t kRefinements = 4;
    constexpr Window kOne{0, 0, false}, kNear{1, 1, false}, kWide{3, 2, true};
    const auto magnitude = [&](const Line& line) {
        return largest_of(0.0f - block.dmin_sign * line.low);
    };
    Steps best;
    const Line ends = ends_of(block);
    improve(block, nearest_float16(largest_of(ends.scale) / kLargestStep),
            block.dmin_sign * nearest_float16(magnitude(ends) / kLargestStep), ends, kOne, best);
    const Line line = best_line(block);
    // The largest scale and minimum at the end of their range, then with a few steps to spare.
    for (const float steps : {kLargestStep, kLargestStep - 4.0f})
        improve(block, float16_not_below(largest_of(line.scale) / steps),
                block.dmin_sign * float16_not_below(magnitude(line) / steps), line, kWide, best);
    for (size_t i = 0; i < kRefinements; ++i) {
        float d, dmin;
        if (!fit_units(block, best, &d, &dmin)) break;
        const Line same_steps{d * best.scales, 0.0f - dmin * best.minima};
        if (!improve(block, d, dmin, same_steps, kNear, best)) break;
    }
    return best;
}

void store_float16(uint8_t* bytes, float number) noexcept {
    const uint16_t half = float16_from_float32(number);
    std::memcpy(bytes, &half, sizeof half);
}

void pack(const Superblock& block, const Steps& steps, Q4KBlock* packed) noexcept {
    store_float16(packed->d, steps.d);
    store_float16(packed->dmin, steps.dmin);
    float scales[kLaneCount], minima[kLaneCount];
    steps.scales.store(scales);
    steps.minima.store(minima);
    for (size_t i = 0; i < 4; ++i) {
        const auto scale = static_cast<unsigned>(scales[i]),
                   late = static_cast<unsigned>(scales[i + 4]);
        const auto minimum = static_cast<unsigned>(minima[i]);
        const auto late_minimum = static_cast<unsigned>(minima[i + 4]);
        packed->scales[i] = static_cast<uint8_t>(scale | late >> 4 << 6);
        packed->scales[i + 4] = static_cast<uint8_t>(minimum | late_minimum >> 4 << 6);
        packed->scales[i + 8] = static_cast<uint8_t>((late & 15) | (late_minimum & 15) << 4);
    }
    const Line line = steps.line();
    const Lanes inverse = inverse_of(line.scale);
    for (size_t i = 0; i < kSubBlockDims; ++i) {
        float codes[kLaneCount];
        code_of(block.weights[i] - line.low, inverse).store(codes);
        for (size_t pair = 0; pair < kLaneCount / 2; ++pair) {
            const auto low = static_cast<unsigned>(codes[2 * pair]);
            const auto high = static_cast<unsigned>(codes[2 * pair + 1]);
            packed->codes[pair * kSubBlockDims + i] = static_cast<uint8_t>(low | high << 4);
        }
    }
}

}  // namespace

Outcome quantize_row_q4_k(const float* weights, size_t dim, uint8_t* row) noexcept {
    const Outcome outcome = check_row(weights, dim, kLargestQ4KWeight);
    if (outcome != Outcome::packed) return outcome;
    for (size_t i = 0; i < dim / Q4KBlock::kDims; ++i) {
        const Superblock block = load(weights + i * Q4KBlock::kDims);
        Q4KBlock packed;
        pack(block, search(block), &packed);
        std::memcpy(row + i * sizeof packed, &packed, sizeof packed);
    }
    return Outcome::packed;
}

}  // namespace nibblevec
