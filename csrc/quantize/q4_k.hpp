#pragma once

#include <stddef.h>
#include <stdint.h>

#include "quantize/outcome.hpp"

namespace nibblevec {

// Weights beyond it, either way, are refused: the largest dmin times the largest minimum.
inline constexpr float kLargestQ4KWeight = 65504.0f * 63.0f;

// Packs one row into dim/256 superblocks of `Q4KBlock`, with a search for the least squared error:
// never worse, superblock by superblock, than rounding each sub-block between its ends. `row` takes
// dim/256 * 144 bytes; nothing is written unless the outcome is `packed`.
Outcome quantize_row_q4_k(const float* weights, size_t dim, uint8_t* row) noexcept;

}  // namespace nibblevec
