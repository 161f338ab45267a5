#include "quantize/quantize.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>

#include "quantize/q4_k.hpp"
#include "quantize/q6_k.hpp"
#include "quantize/sse_q4.hpp"
#include "rows/formats.hpp"

namespace nibblevec {

namespace {

using QuantizeBlocks = Outcome (*)(const float* weights, size_t dim, uint8_t* row) noexcept;

// For formats that keep no scale apart.
template <QuantizeBlocks quantize>
Outcome without_scale(const float* weights, size_t dim, uint8_t* row, float*) noexcept {
    return quantize(weights, dim, row);
}

constexpr float kAnyFloat = std::numeric_limits<float>::max();

constexpr Quantizer kSearches[] = {
    {RowFormat::sse_q4, quantize_row_sse_q4, kAnyFloat, 20.0},
    {RowFormat::q4_k, without_scale<quantize_row_q4_k>, kLargestQ4KWeight, 40.0},
    {RowFormat::q6_k, without_scale<quantize_row_q6_k>, kLargestQ6KWeight, 12.0},
};

constexpr Quantizer kPublishedRule = {RowFormat::sse_q4, quantize_row_sse_q4_as_published,
                                      kAnyFloat, 2.0};

// "a, b and c".
std::string names_of_searches() {
    constexpr size_t kCount = std::size(kSearches);
    std::string names;
    for (size_t i = 0; i < kCount; ++i) {
        if (i > 0) names += i + 1 < kCount ? ", " : " and ";
        names += traits_of(kSearches[i].format).name;
    }
    return names;
}

}  // namespace

const Quantizer& quantizer_of(RowFormat format, bool search) {
    const std::string name = traits_of(format).name;
    if (!search) {
        if (format == kPublishedRule.format) return kPublishedRule;
        throw std::invalid_argument("only sse_q4 has a rule without search, not " + name);
    }
    for (const Quantizer& quantizer : kSearches)
        if (quantizer.format == format) return quantizer;
    throw std::invalid_argument("cannot quantize to " + name + ", only to " + names_of_searches());
}

size_t packed_bytes(RowFormat format, const FloatRows& rows) {
    const RowFormatTraits& traits = traits_of(format);
    if (rows.row_count == 0 || rows.dim == 0 || rows.dim % traits.block_dims != 0)
        throw std::invalid_argument(
            "weights are [" + std::to_string(rows.row_count) + ", " + std::to_string(rows.dim) +
            "], expected at least one row of a multiple of " + std::to_string(traits.block_dims) +
            " dimensions for " + traits.name);
    return rows.row_count * (row_bytes(format, rows.dim) + traits.scale_bytes);
}

void quantize_rows(const Quantizer& quantizer, const FloatRows& rows, size_t threads,
                   Interruption& interruption, uint8_t* table) {
    constexpr size_t kBlockWeights = 1 << 15;
    const RowFormatTraits& traits = traits_of(quantizer.format);
    const size_t dim = rows.dim;
    const size_t bytes_of_row = row_bytes(quantizer.format, dim);
    uint8_t* scales = table + rows.row_count * bytes_of_row;
    const size_t block_rows = std::max<size_t>(1, kBlockWeights / dim);
    const double nanoseconds =
        static_cast<double>(rows.row_count * dim) * quantizer.nanoseconds_per_weight;
    std::atomic<size_t> bad_row{rows.row_count};
    const size_t useful = useful_threads(nanoseconds, threads);
    run_blocks(rows.row_count, block_rows, useful, interruption, [&](size_t begin, size_t end) {
        for (size_t row = begin; row < end; ++row) {
            float scale = 0.0f;
            const Outcome outcome = quantizer.quantize_row(rows.weights + row * dim, dim,
                                                           table + row * bytes_of_row, &scale);
            if (outcome != Outcome::packed) {
                size_t first = bad_row.load();
                while (row < first && !bad_row.compare_exchange_weak(first, row)) {
                }
                return;
            }
            std::memcpy(scales + row * traits.scale_bytes, &scale, traits.scale_bytes);
        }
    });
    if (bad_row == rows.row_count) return;
    const std::string row = std::string("row ").append(std::to_string(bad_row));
    const float largest = quantizer.largest_weight;
    if (check_row(rows.weights + bad_row * dim, dim, largest) == Outcome::not_finite)
        throw std::invalid_argument(row + " holds a weight that is not finite");
    throw std::invalid_argument(row + " holds a weight beyond " +
                                std::to_string(static_cast<int64_t>(largest)) +
                                ", the largest that " + traits.name + " holds");
}

}  // namespace nibblevec
