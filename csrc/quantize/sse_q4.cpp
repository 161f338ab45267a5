#include "quantize/sse_q4.hpp"

#include <algorithm>
#include <cmath>

namespace nibblevec {

namespace {

uint8_t code_of(float weight, float scale) noexcept {
    const float code = std::nearbyint((weight / scale + 1.0f) * 7.5f);
    return static_cast<uint8_t>(std::clamp(code, 0.0f, 15.0f));
}

}  // namespace

bool quantize_row_sse_q4(const float* weights, size_t dim, uint8_t* codes, float* scale) noexcept {
    float largest = 0.0f;
    for (size_t i = 0; i < dim; ++i) {
        if (!std::isfinite(weights[i])) return false;
        largest = std::max(largest, std::fabs(weights[i]));
    }
    *scale = largest + 1e-8f;
    for (size_t i = 0; i < dim / 2; ++i) {
        const int even = code_of(weights[2 * i], *scale);
        const int odd = code_of(weights[2 * i + 1], *scale);
        codes[i] = static_cast<uint8_t>(even << 4 | odd);
    }
    return true;
}

}  // namespace nibblevec
