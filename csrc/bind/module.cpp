#include <pybind11/pybind11.h>

#include <bit>

#include "bind/arrow.hpp"
#include "bind/encoder.hpp"
#include "bind/float_environment.hpp"
#include "bind/quantize.hpp"
#include "bind/table.hpp"
#include "bind/tokenizer.hpp"

static_assert(std::endian::native == std::endian::little,
              "tables are read in their own bytes, which are little-endian");

PYBIND11_MODULE(core, module, pybind11::mod_gil_not_used()) {
    nibblevec::bind_float_environment(module);
    nibblevec::bind_table(module);
    nibblevec::bind_quantize(module);
    nibblevec::bind_tokenizer(module);
    nibblevec::bind_arrow(module);
    nibblevec::bind_encoder(module);
}

// What Python calls to import `_core`. In a sub-interpreter pybind11 would wait for ever, before
// anything of the module above runs.
PYBIND11_PLUGIN_IMPL(_core) {
    if (PyInterpreterState_Get() == PyInterpreterState_Main()) return PyInit_core();
    PyErr_SetString(PyExc_ImportError, "nibblevec runs in Python's main interpreter only");
    return nullptr;
}
