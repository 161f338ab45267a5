#pragma once

#include <stddef.h>
#include <stdint.h>

#include "rows/formats.hpp"

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

// The tokens of one bag, or of a piece of one. Borrowed.
struct Tokens {
    const uint32_t* ids;   // [count], and `ids_beyond` more behind them
    const float* weights;  // [count], or null
    size_t count;
    size_t ids_beyond;  // those whose rows will be wanted next: they may be prefetched
};

// The classes of 64 bytes of text, a bit each: ASCII letters and digits; ASCII punctuation; bytes
// that need a closer look (no ASCII, or control characters). The rest is space, tab and line ends.
struct WordMasks {
    uint64_t word;
    uint64_t punctuation;
    uint64_t other;
};

// Everything that needs wide vectors, once for each instruction set. Functions neither allocate
// nor check: ids are below `row_count`, 0 < dims <= dim, buffers are as long as they must be.
struct Kernel {
    // Adds up the rows of one bag in the order of its ids, for the first `dims` dimensions, each
    // row times its weight where there are weights. The sum starts from +0.0, or from `sum` if
    // `resume`, so a bag may be given in pieces.
    using SumRows = void (*)(const TableView& table, const Tokens& tokens, size_t dims, bool resume,
                             float* sum);

    // Turns the sum of a bag of `token_count` tokens into its vector, in place.
    using ApplyHead = void (*)(const HeadView& head, size_t token_count, size_t dims, float* row);

    // Sorts `byte_count` bytes of text into masks, one for each 64 bytes begun, and copies them,
    // with ASCII letters in lower case if so asked. Masks are 0 after the text's end. `copy` has
    // room for whole blocks of 64 bytes.
    using ScanWords = void (*)(const uint8_t* text, size_t byte_count, bool lowercase,
                               WordMasks* masks, uint8_t* copy);

    const char* name;
    SumRows sum_rows[kRowFormatCount];
    ApplyHead apply_head;
    ScanWords scan_words;
};

// The kernels that the build may hold; `dispatch.hpp` tells which of them this CPU runs.
extern const Kernel kernel_portable;
extern const Kernel kernel_avx2;
extern const Kernel kernel_avx512;
extern const Kernel kernel_neon;

}  // namespace nibblevec
