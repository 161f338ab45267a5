#pragma once

#include <pybind11/pybind11.h>

namespace nibblevec {

// Adds the way from texts to vectors; after the classes of its parts.
void bind_encoder(pybind11::module_& module);

}  // namespace nibblevec
