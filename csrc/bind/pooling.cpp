#include "bind/pooling.hpp"

#include <pybind11/stl.h>

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "bind/module.hpp"
#include "kernel/dispatch.hpp"

namespace nibblevec {

namespace {

Norm norm_named(const std::optional<std::string>& name) {
    if (!name) return Norm::none;
    if (*name == "torch") return Norm::torch;
    if (*name == "model2vec") return Norm::model2vec;
    if (*name == "model2vec_float16") return Norm::model2vec_float16;
    throw py::value_error("unknown normalization '" + *name + "'");
}

// For vectors of at most `dims` dims.
HeadView head_view(const DynamicTanh* dynamic_tanh, size_t dims, bool mean, Norm norm) {
    if (dynamic_tanh == nullptr) return {nullptr, nullptr, nullptr, mean, norm};
    if (dims > dynamic_tanh->dim()) throw py::value_error("the head is shorter than the rows");
    return dynamic_tanh->view(mean, norm);
}

}  // namespace

DynamicTanh::DynamicTanh(Array<float> alpha, Array<float> beta, Array<float> bias)
    : alpha_(std::move(alpha)), beta_(std::move(beta)), bias_(std::move(bias)) {
    if (alpha_.ndim() != 1 || beta_.ndim() != 1 || bias_.ndim() != 1 ||
        alpha_.size() != beta_.size() || alpha_.size() != bias_.size())
        throw py::value_error("alpha, beta and bias must be vectors of one length");
    check_aligned(alpha_, "alpha");
    check_aligned(beta_, "beta");
    check_aligned(bias_, "bias");
}

BagHead bag_head(const DynamicTanh* dynamic_tanh, const Table& table, size_t dims, bool mean,
                 const std::optional<std::string>& normalization, bool normalize, bool wide_sums) {
    const Norm norm = norm_named(normalization);
    const size_t dim = table.view().dim;
    const size_t head_dims = norm == Norm::none ? dims : dim;
    return BagHead(head_view(dynamic_tanh, head_dims, mean, norm), dim, dims, normalize, wide_sums);
}

namespace {

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
    float* sums = rows.mutable_data();
    const std::span counts(token_counts.data(), static_cast<size_t>(token_counts.size()));
    run_without_gil([&](Interruption& interruption) {
        apply_head_to_sums(kernel, head, counts, dims, interruption, sums);
    });
}

}  // namespace

void bind_pooling(py::module_& module) {
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
}

}  // namespace nibblevec
