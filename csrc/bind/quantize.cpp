#include "bind/quantize.hpp"

#include <pybind11/numpy.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <limits>
#include <string>

#include "bind/call.hpp"
#include "bind/objects.hpp"
#include "encoder/call.hpp"
#include "quantize/q4_k.hpp"
#include "quantize/q6_k.hpp"
#include "quantize/sse_q4.hpp"

namespace py = pybind11;

namespace nibblevec {

namespace {

// How one format packs a row.
struct Quantizer {
    // Only sse_q4 has a `scale` apart from the row.
    Outcome (*quantize_row)(const float* weights, size_t dim, uint8_t* row, float* scale);
    float largest_weight;
    double nanoseconds_per_weight;  // a rough measure, by which threads are started
};

Quantizer quantizer_of(RowFormat format, bool search) {
    constexpr float kAnyFloat = std::numeric_limits<float>::max();
    if (!search) {
        if (format == RowFormat::sse_q4) return {quantize_row_sse_q4_as_published, kAnyFloat, 2.0};
        throw py::value_error(std::string("only sse_q4 has a rule without search, not ") +
                              name_of(format));
    }
    switch (format) {
        case RowFormat::sse_q4:
            return {quantize_row_sse_q4, kAnyFloat, 20.0};
        case RowFormat::q4_k:
            return {[](const float* weights, size_t dim, uint8_t* row, float*) {
                        return quantize_row_q4_k(weights, dim, row);
                    },
                    kLargestQ4KWeight, 40.0};
        case RowFormat::q6_k:
            return {[](const float* weights, size_t dim, uint8_t* row, float*) {
                        return quantize_row_q6_k(weights, dim, row);
                    },
                    kLargestQ6KWeight, 12.0};
        default:
            throw py::value_error(std::string("cannot quantize to ") + name_of(format) +
                                  ", only to sse_q4, q4_k and q6_k");
    }
}

py::array_t<uint8_t> quantize(const Array<float>& weights, const std::string& format_name,
                              bool search, size_t threads) {
    const RowFormat format = format_named(format_name);
    const Quantizer quantizer = quantizer_of(format, search);
    check_aligned(weights, "weights");
    if (weights.ndim() != 2) throw py::value_error("weights must be float32 [rows, dim]");
    const auto row_count = static_cast<size_t>(weights.shape(0));
    const auto dim = static_cast<size_t>(weights.shape(1));
    if (row_count == 0 || dim == 0 || dim % dim_unit(format) != 0)
        throw py::value_error("weights are [" + std::to_string(row_count) + ", " +
                              std::to_string(dim) +
                              "], expected at least one row of a multiple of " +
                              std::to_string(dim_unit(format)) + " dimensions for " + format_name);
    const size_t bytes_of_row = row_bytes(format, dim);
    const size_t scale_bytes = format == RowFormat::sse_q4 ? sizeof(float) : 0;
    py::array_t<uint8_t> packed(row_count * (bytes_of_row + scale_bytes));
    uint8_t* packed_rows = packed.mutable_data();
    uint8_t* scales = packed_rows + row_count * bytes_of_row;
    const float* rows = weights.data();
    constexpr size_t kBlockWeights = 1 << 15;
    const size_t block_rows = std::max<size_t>(1, kBlockWeights / dim);
    std::atomic<size_t> bad_row{row_count};
    run_without_gil([&](Interruption& interruption) {
        const double nanoseconds =
            static_cast<double>(row_count * dim) * quantizer.nanoseconds_per_weight;
        const size_t block_count = (row_count + block_rows - 1) / block_rows;
        run_blocks(block_count, useful_threads(nanoseconds, threads), interruption,
                   [&](size_t block) {
                       const size_t end = std::min(row_count, (block + 1) * block_rows);
                       for (size_t row = block * block_rows; row < end; ++row) {
                           float scale = 0.0f;
                           const Outcome outcome = quantizer.quantize_row(
                               rows + row * dim, dim, packed_rows + row * bytes_of_row, &scale);
                           if (outcome != Outcome::packed) {
                               size_t first = bad_row.load();
                               while (row < first && !bad_row.compare_exchange_weak(first, row)) {
                               }
                               return;
                           }
                           std::memcpy(scales + row * scale_bytes, &scale, scale_bytes);
                       }
                   });
    });
    if (bad_row < row_count) {
        const std::string row = "row " + std::to_string(bad_row) + " holds a weight ";
        if (check_row(rows + bad_row * dim, dim, quantizer.largest_weight) == Outcome::not_finite)
            throw py::value_error(row + "that is not finite");
        throw py::value_error(row + "beyond " +
                              std::to_string(static_cast<int64_t>(quantizer.largest_weight)) +
                              ", the largest that " + format_name + " holds");
    }
    return packed;
}

}  // namespace

void bind_quantize(py::module_& module) {
    module.def("quantize", &quantize, py::arg("weights").noconvert(), py::arg("format"),
               py::kw_only(), py::arg("search") = true, py::arg("threads") = 1);
}

}  // namespace nibblevec
