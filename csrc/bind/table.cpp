#include "bind/table.hpp"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "bind/call.hpp"
#include "bind/objects.hpp"
#include "encoder/call.hpp"
#include "encoder/pooling.hpp"
#include "kernel/dispatch.hpp"
#include "rows/decode.hpp"

namespace py = pybind11;

namespace nibblevec {

namespace {

// Numbers are copied as they are checked: whoever changes them while the GIL is released changes
// nothing here.

// Row numbers as uint32, each of them below `row_count`.
std::vector<uint32_t> checked_row_ids(const py::array& ids, size_t row_count) {
    if (ids.ndim() != 1) throw py::value_error("ids must have one dimension");
    if (!(ids.flags() & py::array::c_style) || ids.dtype().byteorder() == '>')
        throw py::value_error("ids must be contiguous and in native byte order");
    check_aligned(ids, "ids");
    // A negative id becomes a huge one.
    const auto check_and_copy = [&]<typename Integer>(Integer) {
        const auto* numbers = static_cast<const Integer*>(ids.data());
        std::vector<uint32_t> rows(static_cast<size_t>(ids.size()));
        for (size_t i = 0; i < rows.size(); ++i) {
            const Integer id = numbers[i];
            if (static_cast<uint64_t>(id) >= row_count)
                throw py::index_error("id " + std::to_string(id) + " at position " +
                                      std::to_string(i) + " is not below the table's " +
                                      std::to_string(row_count) + " rows");
            rows[i] = static_cast<uint32_t>(id);
        }
        return rows;
    };
    const char kind = ids.dtype().kind();
    const auto width = ids.itemsize();
    if (kind == 'u' && width == 1) return check_and_copy(uint8_t{});
    if (kind == 'u' && width == 2) return check_and_copy(uint16_t{});
    if (kind == 'u' && width == 4) return check_and_copy(uint32_t{});
    if (kind == 'u' && width == 8) return check_and_copy(uint64_t{});
    if (kind == 'i' && width == 1) return check_and_copy(int8_t{});
    if (kind == 'i' && width == 2) return check_and_copy(int16_t{});
    if (kind == 'i' && width == 4) return check_and_copy(int32_t{});
    if (kind == 'i' && width == 8) return check_and_copy(int64_t{});
    throw py::type_error("ids must be integers, not " +
                         py::cast<std::string>(py::str(ids.dtype())));
}

std::vector<int64_t> checked_offsets(const Array<int64_t>& offsets, size_t token_count) {
    check_aligned(offsets, "offsets");
    if (offsets.ndim() != 1 || offsets.size() == 0)
        throw py::value_error("offsets must have one dimension and at least one element");
    const std::vector<int64_t> values(offsets.data(), offsets.data() + offsets.size());
    if (values[0] < 0)
        throw py::value_error("offsets[0] is " + std::to_string(values[0]) + ", below 0");
    for (size_t i = 1; i < values.size(); ++i)
        if (values[i] < values[i - 1])
            throw py::value_error("offsets decrease at position " + std::to_string(i) + ": " +
                                  std::to_string(values[i - 1]) + " then " +
                                  std::to_string(values[i]));
    if (static_cast<uint64_t>(values.back()) > token_count)
        throw py::value_error("offsets end at " + std::to_string(values.back()) + ", past the " +
                              std::to_string(token_count) + " ids");
    return values;
}

// Null if there are none.
template <typename Number>
const Number* checked_weights(const std::optional<Array<Number>>& weights, size_t token_count,
                              const Array<float>& out) {
    if (!weights) return nullptr;
    if (weights->ndim() != 1 || static_cast<size_t>(weights->size()) != token_count)
        throw py::value_error("per-token weights must be as many as ids");
    check_aligned(*weights, "per-token weights");
    check_apart(out, weights->data(), static_cast<size_t>(weights->nbytes()), "the weights");
    return weights->data();
}

void pool(const Table& table, const py::array& ids, const Array<int64_t>& offsets,
          Array<float>& out, const std::optional<Array<float>>& weights,
          const std::optional<Array<double>>& wide_weights, const DynamicTanh* dynamic_tanh,
          bool mean, const std::optional<std::string>& normalization, bool normalize,
          bool wide_sums, size_t threads, const std::optional<std::string>& kernel_name) {
    const Kernel& kernel = kernel_or_default(kernel_name);
    const std::vector<uint32_t> row_ids = checked_row_ids(ids, table.view().row_count);
    const std::vector<int64_t> bag_offsets = checked_offsets(offsets, row_ids.size());
    const size_t dims = checked_out_dims(out, bag_offsets.size() - 1, table);
    if (weights && (wide_sums || wide_weights))
        throw py::value_error("weights are not as wide as sums, or given twice");
    const BagHead head =
        bag_head(dynamic_tanh, table, dims, mean, normalization, normalize, wide_sums);
    const Bags bags{row_ids.data(), checked_weights(weights, row_ids.size(), out),
                    checked_weights(wide_weights, row_ids.size(), out), bag_offsets.data(),
                    static_cast<size_t>(out.shape(0))};
    float* rows = out.mutable_data();
    run_without_gil([&](Interruption& interruption) {
        pool_bags(kernel, table.view(), head, bags, threads, interruption, rows);
    });
}

void apply_head(Array<float>& rows, const Array<uint64_t>& token_counts,
                const DynamicTanh* dynamic_tanh, bool mean,
                const std::optional<std::string>& normalization, bool normalize,
                const std::optional<std::string>& kernel_name) {
    const Kernel& kernel = kernel_or_default(kernel_name);
    check_aligned(rows, "rows");
    check_aligned(token_counts, "token_counts");
    if (rows.ndim() != 2 || rows.shape(0) != token_counts.size())
        throw py::value_error("rows must be float32 [bags, dims], token_counts [bags]");
    const auto dims = static_cast<size_t>(rows.shape(1));
    HeadView head = head_view(dynamic_tanh, dims, mean, norm_named(normalization));
    if (head.norm == Norm::none && normalize) head.norm = Norm::torch;
    float* row = rows.mutable_data();
    const uint64_t* counts = token_counts.data();
    const auto bag_count = static_cast<size_t>(token_counts.size());
    run_without_gil([&](Interruption& interruption) {
        run_blocks(1, 1, interruption, [&](size_t) {
            for (size_t bag = 0; bag < bag_count; ++bag)
                kernel.apply_head(head, counts[bag], dims, row + bag * dims);
        });
    });
}

Array<float> dequantize(const Table& table, const py::array& row_ids) {
    const std::vector<uint32_t> ids = checked_row_ids(row_ids, table.view().row_count);
    const size_t dim = table.view().dim;
    Array<float> weights({ids.size(), dim});
    float* out = weights.mutable_data();
    run_without_gil([&](Interruption& interruption) {
        constexpr size_t kBlockRows = 256;
        run_blocks((ids.size() + kBlockRows - 1) / kBlockRows, 1, interruption, [&](size_t block) {
            const size_t end = std::min(ids.size(), (block + 1) * kBlockRows);
            for (size_t i = block * kBlockRows; i < end; ++i)
                decode_row(table.view(), ids[i], out + i * dim);
        });
    });
    return weights;
}

std::vector<std::string> kernel_names() {
    const Kernel& chosen = default_kernel();
    std::vector<std::string> names{chosen.name};
    for (const Kernel* kernel : supported_kernels())
        if (kernel != &chosen) names.emplace_back(kernel->name);
    return names;
}

}  // namespace

void bind_table(py::module_& module) {
    py::class_<Table>(module, "Table")
        .def(py::init<const py::buffer&, int64_t, const std::string&>(), py::arg("buffer"),
             py::arg("dim"), py::arg("format"))
        .def_property_readonly("rows", [](const Table& table) { return table.view().row_count; })
        .def_property_readonly("dim", [](const Table& table) { return table.view().dim; })
        .def_property_readonly("format",
                               [](const Table& table) { return name_of(table.view().format); });
    py::class_<DynamicTanh>(module, "DynamicTanh")
        .def(py::init<Array<float>, Array<float>, Array<float>>(), py::arg("alpha"),
             py::arg("beta"), py::arg("bias"));
    module.def("kernels", &kernel_names);
    module.def("pool", &pool, py::arg("table"), py::arg("ids"), py::arg("offsets").noconvert(),
               py::arg("out").noconvert(), py::kw_only(), py::arg("weights") = py::none(),
               py::arg("wide_weights") = py::none(), py::arg("dynamic_tanh") = py::none(),
               py::arg("mean") = false, py::arg("normalization") = py::none(),
               py::arg("normalize") = false, py::arg("wide_sums") = false, py::arg("threads") = 1,
               py::arg("kernel") = py::none());
    module.def("apply_head", &apply_head, py::arg("rows").noconvert(),
               py::arg("token_counts").noconvert(), py::kw_only(),
               py::arg("dynamic_tanh") = py::none(), py::arg("mean") = false,
               py::arg("normalization") = py::none(), py::arg("normalize") = false,
               py::arg("kernel") = py::none());
    module.def("dequantize", &dequantize, py::arg("table"), py::arg("row_ids"));
}

}  // namespace nibblevec
