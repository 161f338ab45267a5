#include "rows/decode.hpp"

#include <string.h>

#include "rows/half.hpp"

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

void decode_int8(const TableView& table, size_t row, float* weights) noexcept {
    for (size_t i = 0; i < table.dim; ++i) {
        int8_t number;
        memcpy(&number, table.rows + row * table.row_bytes + i, sizeof number);
        weights[i] = static_cast<float>(number);
    }
}

void decode_q4_k(const TableView& table, size_t row, float* weights) noexcept {
    Q4KBlock block;
    for (size_t first = 0; first < table.dim; first += Q4KBlock::kDims) {
        const size_t offset = first / Q4KBlock::kDims * sizeof block;
        memcpy(&block, table.rows + row * table.row_bytes + offset, sizeof block);
        const float d = float32_from_float16_at(block.d);
        const float dmin = float32_from_float16_at(block.dmin);
        const Q4KBytes bytes = unpack_q4_k_scales(block.scales);
        for (size_t i = 0; i < Q4KBlock::kDims; ++i) {
            const size_t sub_block = i / Q4KBlock::kSubBlockDims;
            const float scale = d * static_cast<float>(bytes.scales >> 8 * sub_block & 63);
            const float minimum = dmin * static_cast<float>(bytes.minima >> 8 * sub_block & 63);
            const unsigned both = block.codes[i / 64 * 32 + i % 32];
            const auto code = static_cast<float>(sub_block % 2 == 0 ? both & 15 : both >> 4);
            weights[first + i] = scale * code - minimum;
        }
    }
}

void decode_q6_k(const TableView& table, size_t row, float* weights) noexcept {
    Q6KBlock block;
    for (size_t first = 0; first < table.dim; first += Q6KBlock::kDims) {
        const size_t offset = first / Q6KBlock::kDims * sizeof block;
        memcpy(&block, table.rows + row * table.row_bytes + offset, sizeof block);
        const float d = float32_from_float16_at(block.d);
        for (size_t i = 0; i < Q6KBlock::kDims; ++i) {
            const size_t half = i / 128, quarter = i / 32 % 4;
            const int low = block.low[half][i % 64] >> 4 * (quarter / 2) & 15;
            const int high = block.high[half][i % 32] >> 2 * quarter & 3;
            const auto scale = static_cast<float>(block.scales[i / Q6KBlock::kSubBlockDims]);
            weights[first + i] = d * scale * static_cast<float>((high << 4 | low) - 32);
        }
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
        case RowFormat::int8:
            return decode_int8(table, row, weights);
        case RowFormat::q4_k:
            return decode_q4_k(table, row, weights);
        case RowFormat::q6_k:
            return decode_q6_k(table, row, weights);
    }
}

}  // namespace nibblevec
