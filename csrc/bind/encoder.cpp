#include <pybind11/stl.h>

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "bind/arrays.hpp"
#include "bind/arrow.hpp"
#include "bind/call.hpp"
#include "bind/module.hpp"
#include "bind/pooling.hpp"
#include "bind/tokenizer.hpp"
#include "encoder/token_rules.hpp"
#include "encoder/vectors.hpp"
#include "kernel/dispatch.hpp"
#include "text/transcoding.hpp"

namespace nibblevec {

namespace {

// A prompt as UTF-8, and whether it was cut.
struct Prompt {
    std::string utf8;
    size_t characters;
    bool is_cut;
};

Prompt checked_prompt(const py::str& prompt, std::optional<size_t> max_characters) {
    const TextView view = views_of(py::make_tuple(prompt), 0, max_characters).front();
    std::vector<uint8_t> buffer;
    try {
        return {std::string(utf8_of(view, 0, buffer)), view.length, view.is_cut};
    } catch (const InvalidText& error) {
        throw py::value_error(std::string("the prompt ") + error.problem + " " +
                              std::to_string(error.position));
    }
}

// `texts` are a tuple of str, or those of an Arrow array.
size_t encode(const Tokenizer& tokenizer, const Table& table,
              const std::variant<py::tuple, const TextBlock*>& texts, Array<float>& out,
              const py::str& prompt, const DynamicTanh* dynamic_tanh,
              const std::optional<std::string>& normalization, bool normalize, bool wide_sums,
              const TokenRules* rules, std::optional<size_t> max_length, bool keep_end,
              std::optional<size_t> max_characters, size_t first_number, size_t threads,
              const std::optional<std::string>& kernel_name,
              std::optional<size_t> piece_characters) {
    const Kernel& kernel = kernel_or_default(kernel_name);
    const size_t piece = piece_or_default(piece_characters);
    const size_t row_count = table.view().row_count;
    if (rules == nullptr && tokenizer.id_limit() > row_count)
        throw py::value_error("the tokenizer has more ids than the table rows");
    if (rules != nullptr && !rules->fit(tokenizer.id_limit(), row_count))
        throw py::value_error("the token rules fit neither all ids nor the table's rows");
    const Prompt before = checked_prompt(prompt, max_characters);
    if (max_characters) *max_characters -= before.characters;  // of prompt and text together
    std::vector<TextView> views;
    const TextBlock* block = nullptr;
    if (std::holds_alternative<py::tuple>(texts))
        views = views_of(std::get<py::tuple>(texts), first_number, max_characters);
    else
        block = std::get<const TextBlock*>(texts);
    const size_t dims = checked_out_dims(out, block ? block->count() : views.size(), table);
    Truncation truncation;
    if (max_length) truncation.max_length = *max_length;
    truncation.keep_end = keep_end;
    const VectorModel model{
        tokenizer,
        rules,
        kernel,
        table.view(),
        bag_head(dynamic_tanh, table, dims, /*mean=*/true, normalization, normalize, wide_sums),
        truncation,
        before.utf8};
    float* rows = out.mutable_data();
    size_t cut_texts = 0;
    run_without_gil([&](Interruption& interruption) {
        if (block != nullptr) views = block->views(max_characters);
        for (TextView& view : views) view.is_cut = view.is_cut || before.is_cut;
        cut_texts = encode_vectors(model, views, first_number, threads, interruption, rows, piece);
    });
    return cut_texts;
}

template <typename Number>
std::vector<Number> copied(const std::optional<Array<Number>>& numbers, const char* name) {
    if (!numbers) return {};
    check_aligned(*numbers, name);
    if (numbers->ndim() != 1 || numbers->size() == 0)
        throw py::value_error(std::string(name) + " must have one dimension and not be empty");
    return {numbers->data(), numbers->data() + numbers->size()};
}

}  // namespace

void bind_encoder(py::module_& module) {
    py::class_<TokenRules>(module, "TokenRules")
        .def(py::init([](const std::optional<Array<uint32_t>>& row_of_id,
                         const std::optional<Array<double>>& weight_of_id, bool wide_weights,
                         std::optional<uint32_t> dropped_id) {
                 return TokenRules(copied(row_of_id, "row_of_id"),
                                   copied(weight_of_id, "weight_of_id"), wide_weights, dropped_id);
             }),
             py::arg("row_of_id"), py::arg("weight_of_id"), py::arg("wide_weights"),
             py::arg("dropped_id"));
    module.def("encode", &encode, py::arg("tokenizer"), py::arg("table"), py::arg("texts"),
               py::arg("out").noconvert(), py::kw_only(), py::arg("prompt") = py::str(),
               py::arg("dynamic_tanh") = py::none(), py::arg("normalization") = py::none(),
               py::arg("normalize") = false, py::arg("wide_sums") = false,
               py::arg("rules") = py::none(), py::arg("max_length") = py::none(),
               py::arg("keep_end") = false, py::arg("max_characters") = py::none(),
               py::arg("first_number") = 0, py::arg("threads") = 1, py::arg("kernel") = py::none(),
               py::arg("piece_characters") = py::none());
}

}  // namespace nibblevec
