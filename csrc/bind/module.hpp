#pragma once

namespace pybind11 {
class module_;
}

// The parts of the module. Each function adds one.
namespace nibblevec {

void bind_table(pybind11::module_& module);
void bind_pooling(pybind11::module_& module);
void bind_tokenizer(pybind11::module_& module);
void bind_arrow(pybind11::module_& module);
void bind_encoder(pybind11::module_& module);

}  // namespace nibblevec
