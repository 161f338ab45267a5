#pragma once

#include <stddef.h>
#include <stdint.h>

namespace nibblevec {

// Packs one row by the published rule: scale = max|w| + 1e-8, code = (w / scale + 1) * 7.5 rounded
// half to even and kept within 0..15, each step in float32. `codes` takes dim/2 bytes. Returns
// false, with nothing written, if a weight is not finite.
bool quantize_row_sse_q4(const float* weights, size_t dim, uint8_t* codes, float* scale) noexcept;

}  // namespace nibblevec
