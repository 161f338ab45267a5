#include "bind_encoder.hpp"

#include <pybind11/stl.h>

#include <optional>
#include <string>
#include <vector>

#include "bind_call.hpp"
#include "bind_objects.hpp"
#include "bind_tokenizer.hpp"
#include "encoder/vectors.hpp"

namespace nibblevec {

namespace {

size_t encode(const Tokenizer& tokenizer, const Table& table, const py::tuple& texts,
              Array<float>& out, const DynamicTanh* dynamic_tanh, bool normalize,
              std::optional<size_t> max_length, bool keep_end, size_t first_number, size_t threads,
              const std::optional<std::string>& kernel_name) {
    const Kernel& kernel = kernel_or_default(kernel_name);
    if (tokenizer.id_limit() > table.view().row_count)
        throw py::value_error("the tokenizer has more ids than the table rows");
    const std::vector<TextView> views = views_of(texts, first_number);
    const size_t dims = checked_out_dims(out, views.size(), table);
    Truncation truncation;
    if (max_length) truncation.max_length = *max_length;
    truncation.keep_end = keep_end;
    const VectorModel model{tokenizer,    kernel,
                            table.view(), head_view(dynamic_tanh, dims, /*mean=*/true, normalize),
                            truncation,   dims};
    float* rows = out.mutable_data();
    size_t cut_texts = 0;
    run_without_gil([&](Interruption& interruption) {
        cut_texts = encode_vectors(model, views, first_number, threads, interruption, rows);
    });
    return cut_texts;
}

}  // namespace

void bind_encoder(py::module_& module) {
    module.def("encode", &encode, py::arg("tokenizer"), py::arg("table"), py::arg("texts"),
               py::arg("out").noconvert(), py::kw_only(), py::arg("dynamic_tanh") = py::none(),
               py::arg("normalize") = false, py::arg("max_length") = py::none(),
               py::arg("keep_end") = false, py::arg("first_number") = 0, py::arg("threads") = 1,
               py::arg("kernel") = py::none());
}

}  // namespace nibblevec
