#pragma once

#include <stddef.h>
#include <stdint.h>

#include "quantize/outcome.hpp"

namespace nibblevec {

// Packs one row by the published rule: scale = max|w| + 1e-8, code = (w / scale + 1) * 7.5 rounded
// half to even and kept within 0..15, each step in float32. `codes` takes dim/2 bytes. Nothing is
// written unless the outcome is `packed`.
Outcome quantize_row_sse_q4_as_published(const float* weights, size_t dim, uint8_t* codes,
                                         float* scale) noexcept;

// The same format with the scale, finite and above 0, that a search finds to give the least squared
// error: never more than the published rule gives, whose scale leaves few codes to the many small
// weights of a row.
Outcome quantize_row_sse_q4(const float* weights, size_t dim, uint8_t* codes,
                            float* scale) noexcept;

}  // namespace nibblevec
