#pragma once

#include <pybind11/pybind11.h>

namespace nibblevec {

// DefaultFloatEnvironment, a context manager.
void bind_float_environment(pybind11::module_& module);

}  // namespace nibblevec
