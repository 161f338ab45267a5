#include "quantize/q6_k.hpp"

#include <algorithm>
#include <cstring>
#include <limits>

#include "quantize/float16.hpp"
#include "quantize/lanes.hpp"
#include "rows/q6_k.hpp"

// The sixteen sub-blocks of a superblock are the lanes of two halves. A weight is `code * scale`,
// the code lying between -32 and 31, the scale being d * (-128 to 127) in the file.
//
// Sixteen weights lie on the codes of some scales much better than on those of others, so the
// search takes a d that leaves room and tries every scale from just below the one that reaches the
// largest weight to about a quarter above it. Only squared errors of the decoded weights are
// compared.
namespace nibblevec {

namespace {

constexpr size_t kSubBlockDims = Q6KBlock::kSubBlockDims;
constexpr size_t kHalves = 2;
static_assert(kHalves * kLaneCount * kSubBlockDims == Q6KBlock::kDims);

constexpr float kLeastCode = -32.0f;
constexpr float kLargestCode = 31.0f;
constexpr float kLargestStep = 127.0f;
// The steps of d that the largest of the scales that just reach takes: 127 less the room for what
// is tried above it. Measured: 95 to 110 are within 0.2 % of each other.
constexpr float kUsualStep = 105.0f;
// Instead of a scale of zero, whose codes do not matter: its inverse is finite.
constexpr float kLeastScale = 1e-30f;

struct Superblock {
    Lanes weights[kHalves][kSubBlockDims];
    // The least scale with which no weight leaves the codes, and which end of the sub-block it
    // takes to code -32: +1 for the negative one, -1 for the positive one, the scale's sign.
    Lanes reach[kHalves], sign[kHalves];
};

// A superblock in the file, apart from its codes.
struct Steps {
    float d = 0.0f;
    Lanes scales[kHalves] = {0.0f, 0.0f};  // without their signs
    float error = std::numeric_limits<float>::infinity();
};

Superblock load(const float* weights) noexcept {
    Superblock block;
    for (size_t half = 0; half < kHalves; ++half) {
        Lanes(&columns)[kSubBlockDims] = block.weights[half];
        for (size_t i = 0; i < kSubBlockDims; ++i) {
            float column[kLaneCount];
            for (size_t lane = 0; lane < kLaneCount; ++lane)
                column[lane] = weights[(half * kLaneCount + lane) * kSubBlockDims + i];
            columns[i] = Lanes(column);
        }
        Lanes below = 0.0f, above = 0.0f;
        for (const Lanes& weight : columns) {
            below = max(below, 0.0f - weight);
            above = max(above, weight);
        }
        const Lanes upright = max(below * (-1.0f / kLeastCode), above * (1.0f / kLargestCode));
        const Lanes turned = max(above * (-1.0f / kLeastCode), below * (1.0f / kLargestCode));
        block.reach[half] = min(upright, turned);
        block.sign[half] = where_less(turned, upright, -1.0f, 1.0f);
    }
    // Turned, so that scales are positive from here on.
    for (size_t half = 0; half < kHalves; ++half)
        for (Lanes& weight : block.weights[half]) weight = weight * block.sign[half];
    return block;
}

Lanes inverse_of(const Lanes& scale) noexcept { return 1.0f / max(scale, kLeastScale); }

Lanes code_of(const Lanes& weight, const Lanes& inverse_scale) noexcept {
    return round(clamp(weight * inverse_scale, kLeastCode, kLargestCode));
}

Lanes errors_of(const Lanes (&weights)[kSubBlockDims], const Lanes& scale) noexcept {
    const Lanes inverse = inverse_of(scale);
    Lanes errors = 0.0f;
    for (const Lanes& weight : weights) {
        const Lanes error = weight - code_of(weight, inverse) * scale;
        errors = errors + error * error;
    }
    return errors;
}

// The best scale of every sub-block from `first` to `last` steps beside its centre, and improves
// `best` where that is better.
bool improve(const Superblock& block, float d, const Lanes (&centres)[kHalves], int first, int last,
             Steps& best) noexcept {
    Steps steps;
    steps.d = d;
    float error = 0.0f;
    for (size_t half = 0; half < kHalves; ++half) {
        Lanes least_errors = steps.error;
        for (int i = first; i <= last; ++i) {
            const Lanes scales = clamp(centres[half] + static_cast<float>(i), 0.0f, kLargestStep);
            const Lanes errors = errors_of(block.weights[half], d * scales);
            steps.scales[half] = where_less(errors, least_errors, scales, steps.scales[half]);
            least_errors = min(errors, least_errors);
        }
        error += sum_of(least_errors);
    }
    steps.error = error;
    if (!(steps.error < best.error)) return false;
    best = steps;
    return true;
}

bool improve_from_reach(const Superblock& block, float d, int first, int last,
                        Steps& best) noexcept {
    const float inverse = d == 0.0f ? 0.0f : 1.0f / d;
    Lanes centres[kHalves];
    for (size_t half = 0; half < kHalves; ++half)
        centres[half] = round(clamp(block.reach[half] * inverse, 0.0f, kLargestStep));
    return improve(block, d, centres, first, last, best);
}

// d of least squares for the codes and scales that were chosen, as float16.
float fit_unit(const Superblock& block, const Steps& steps) noexcept {
    float squares = 0.0f, products = 0.0f;
    for (size_t half = 0; half < kHalves; ++half) {
        const Lanes inverse = inverse_of(steps.d * steps.scales[half]);
        Lanes code_squares = 0.0f, code_products = 0.0f;
        for (const Lanes& weight : block.weights[half]) {
            const Lanes code = code_of(weight, inverse);
            code_squares = code_squares + code * code;
            code_products = code_products + code * weight;
        }
        squares += sum_of(steps.scales[half] * steps.scales[half] * code_squares);
        products += sum_of(steps.scales[half] * code_products);
    }
    return squares > 0.0f ? nearest_float16(products / squares) : 0.0f;
}

Steps search(const Superblock& block) noexcept {
    constexpr size_t kRefinements = 3;
    const float reach = std::max(largest_of(block.reach[0]), largest_of(block.reach[1]));
    Steps best;
    improve_from_reach(block, nearest_float16(reach / kLargestStep), 0, 0, best);
    improve_from_reach(block, float16_not_below(reach / kUsualStep), -1, 24, best);
    for (size_t i = 0; i < kRefinements; ++i) {
        const float d = fit_unit(block, best);
        const Lanes centres[kHalves] = {best.scales[0], best.scales[1]};
        if (!improve(block, d, centres, -1, 1, best)) break;
    }
    return best;
}

void pack(const Superblock& block, const Steps& steps, Q6KBlock* packed) noexcept {
    const uint16_t d = float16_from_float32(steps.d);
    std::memcpy(packed->d, &d, sizeof d);
    uint8_t codes[Q6KBlock::kDims];
    for (size_t half = 0; half < kHalves; ++half) {
        float scales[kLaneCount];
        (steps.scales[half] * block.sign[half]).store(scales);
        for (size_t lane = 0; lane < kLaneCount; ++lane)
            packed->scales[half * kLaneCount + lane] = static_cast<int8_t>(scales[lane]);
        const Lanes inverse = inverse_of(steps.d * steps.scales[half]);
        for (size_t i = 0; i < kSubBlockDims; ++i) {
            float column[kLaneCount];
            (code_of(block.weights[half][i], inverse) - kLeastCode).store(column);
            for (size_t lane = 0; lane < kLaneCount; ++lane)
                codes[(half * kLaneCount + lane) * kSubBlockDims + i] =
                    static_cast<uint8_t>(column[lane]);
        }
    }
    constexpr size_t kQuarterDims = 32;
    for (size_t half = 0; half < 2; ++half) {
        const uint8_t* quarters = codes + half * 4 * kQuarterDims;
        for (size_t i = 0; i < 2 * kQuarterDims; ++i)
            packed->low[half][i] = static_cast<uint8_t>((quarters[i] & 15) |
                                                        (quarters[2 * kQuarterDims + i] & 15) << 4);
        for (size_t i = 0; i < kQuarterDims; ++i) {
            unsigned upper_bits = 0;
            for (size_t quarter = 0; quarter < 4; ++quarter)
                upper_bits |= static_cast<unsigned>(quarters[quarter * kQuarterDims + i] >> 4)
                              << 2 * quarter;
            packed->high[half][i] = static_cast<uint8_t>(upper_bits);
        }
    }
}

}  // namespace

Outcome quantize_row_q6_k(const float* weights, size_t dim, uint8_t* row) noexcept {
    const Outcome outcome = check_row(weights, dim, kLargestQ6KWeight);
    if (outcome != Outcome::packed) return outcome;
    for (size_t i = 0; i < dim / Q6KBlock::kDims; ++i) {
        const Superblock block = load(weights + i * Q6KBlock::kDims);
        Q6KBlock packed;
        pack(block, search(block), &packed);
        std::memcpy(row + i * sizeof packed, &packed, sizeof packed);
    }
    return Outcome::packed;
}

}  // namespace nibblevec
