#pragma once

#include <stddef.h>
#include <stdint.h>

namespace nibblevec {

enum class RowFormat : uint8_t;  // see formats.hpp

// A kernel reads whole vectors of up to 64 bytes, some of them two bytes further on: from the
// first byte of a unit, a load two bytes further on ends 65 bytes later.
inline constexpr size_t kMaxOverreadBytes = 65;

// A table of token embeddings in the bytes it came in, not necessarily aligned. Borrowed: the maker
// of the view keeps the bytes alive, in place and unchanged while a kernel runs.
struct TableView {
    RowFormat format;
    size_t row_count;
    size_t dim;
    size_t row_bytes;
    const uint8_t* rows;    // [row_count][row_bytes]
    const uint8_t* scales;  // sse_q4: float32 [row_count]; else null
    // Rows below this number have `kMaxOverreadBytes` more bytes of `rows` behind them.
    size_t overreadable_rows;
};

}  // namespace nibblevec
