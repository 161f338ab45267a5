#include "formats/decode.hpp"

#include <string.h>

namespace nibblevec {

namespace {

void decode_sse_q4(const TableView& table, size_t row, float* weights) noexcept {
    float scale;
    memcpy(&scale, table.scales + row * sizeof(float), sizeof scale);
    const uint8_t* codes = table.rows + row * table.row_bytes;
    for (size_t i = 0; i < table.row_bytes; ++i) {
        const auto even = static_cast<float>(codes[i] >> 4);
        const auto odd = static_cast<float>(codes[i] & 15);
        weights[2 * i] = (even / 7.5f - 1.0f) * scale;
        weights[2 * i + 1] = (odd / 7.5f - 1.0f) * scale;
    }
}

}  // namespace

void decode_row(const TableView& table, size_t row, float* weights) noexcept {
    switch (table.format) {
        case RowFormat::sse_q4:
            decode_sse_q4(table, row, weights);
            return;
        case RowFormat::float32:
            memcpy(weights, table.rows + row * table.row_bytes, table.row_bytes);
            return;
    }
}

}  // namespace nibblevec
