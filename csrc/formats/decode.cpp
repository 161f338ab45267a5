#include "formats/decode.hpp"

#include <string.h>

#include "formats/half.hpp"

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

// `widen` gives the float32 of the 16 bits of a number.
template <typename Widen>
void decode_16_bits(const TableView& table, size_t row, Widen widen, float* weights) noexcept {
    for (size_t i = 0; i < table.dim; ++i) {
        uint16_t half;
        memcpy(&half, table.rows + row * table.row_bytes + 2 * i, sizeof half);
        weights[i] = widen(half);
    }
}

}  // namespace

void decode_row(const TableView& table, size_t row, float* weights) noexcept {
    switch (table.format) {
        case RowFormat::sse_q4:
            return decode_sse_q4(table, row, weights);
        case RowFormat::float32:
            memcpy(weights, table.rows + row * table.row_bytes, table.row_bytes);
            return;
        case RowFormat::float16:
            return decode_16_bits(table, row, float32_from_float16, weights);
        case RowFormat::bfloat16:
            return decode_16_bits(table, row, float32_from_bfloat16, weights);
    }
}

}  // namespace nibblevec
