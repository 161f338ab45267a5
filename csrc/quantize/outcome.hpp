#pragma once

#include <stddef.h>

#include <cmath>
#include <limits>

namespace nibblevec {

// The outcome of a row.
enum class Outcome { packed, not_finite, too_large };

// Whether a row can be packed into a format that holds numbers up to `largest`, either way.
inline Outcome check_row(const float* weights, size_t dim, float largest) noexcept {
    float most = 0.0f;
    bool is_finite = true;
    for (size_t i = 0; i < dim; ++i) {
        const float magnitude = std::fabs(weights[i]);
        is_finite &= magnitude <= std::numeric_limits<float>::max();
        most = magnitude > most ? magnitude : most;
    }
    if (!is_finite) return Outcome::not_finite;
    return most > largest ? Outcome::too_large : Outcome::packed;
}

}  // namespace nibblevec
