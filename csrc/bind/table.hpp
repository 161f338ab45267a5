#pragma once

#include <pybind11/pybind11.h>

namespace nibblevec {

// Adds tables and the pooling of bags to the module.
void bind_table(pybind11::module_& module);

}  // namespace nibblevec
