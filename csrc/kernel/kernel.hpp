#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kernel/head.hpp"
#include "kernel/word_masks.hpp"
#include "rows/formats.hpp"

namespace nibblevec {

// The tokens of one bag, or of a piece of one. Borrowed.
struct Tokens {
    const uint32_t* ids;   // [count], and `ids_beyond` more behind them
    const float* weights;  // [count], or null
    size_t count;
    size_t ids_beyond;  // those whose rows will be wanted next: they may be prefetched
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
