#pragma once

#include <pybind11/pybind11.h>

namespace nibblevec {

// Adds what packs float rows to the module.
void bind_quantize(pybind11::module_& module);

}  // namespace nibblevec
