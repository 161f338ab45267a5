#pragma once

#include <stdint.h>

namespace nibblevec {

// How a row x is scaled to length 1: torch divides it by max(|x|, 1e-12); Model2Vec by |x| + 1e-32,
// and rounds x to float16 before that where its table is float16.
enum class Norm : uint8_t { none, torch, model2vec, model2vec_float16 };

// The head: turns a sum of rows into a vector by the mean, Dynamic Tanh and the norm, in this
// order, each if asked for. Borrowed: alpha, beta and bias hold at least `dims` floats each, or all
// three are null (no DyT).
struct HeadView {
    const float* alpha;
    const float* beta;
    const float* bias;
    bool mean;
    Norm norm;
};

}  // namespace nibblevec
