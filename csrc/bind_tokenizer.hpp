#pragma once

#include <pybind11/pybind11.h>

namespace nibblevec {

// Adds Tokenizer.
void bind_tokenizer(pybind11::module_& module);

}  // namespace nibblevec
