#include "bind/module.hpp"

#include <pybind11/pybind11.h>

#include <bit>
#include <optional>

#include "threads/float_environment.hpp"

namespace py = pybind11;

static_assert(std::endian::native == std::endian::little,
              "tables are read in their own bytes, which are little-endian");

namespace nibblevec {

namespace {

// A context manager of Python enters and leaves at other times than it is made and freed.
class WithFloatEnvironment {
  public:
    void enter() { environment_.emplace(); }
    void leave(const py::args&) { environment_.reset(); }

  private:
    std::optional<DefaultFloatEnvironment> environment_;
};

}  // namespace

}  // namespace nibblevec

PYBIND11_MODULE(core, module, py::mod_gil_not_used()) {
    using nibblevec::WithFloatEnvironment;
    py::class_<WithFloatEnvironment>(module, "DefaultFloatEnvironment")
        .def(py::init<>())
        .def("__enter__", &WithFloatEnvironment::enter)
        .def("__exit__", &WithFloatEnvironment::leave);
    nibblevec::bind_table(module);
    nibblevec::bind_pooling(module);
    nibblevec::bind_tokenizer(module);
    nibblevec::bind_arrow(module);
    nibblevec::bind_encoder(module);
}

// Python calls this to import `_core`. In a sub-interpreter pybind11 would wait for ever before the
// module above runs.
PYBIND11_PLUGIN_IMPL(_core) {
    if (PyInterpreterState_Get() == PyInterpreterState_Main()) return PyInit_core();
    PyErr_SetString(PyExc_ImportError, "nibblevec runs in Python's main interpreter only");
    return nullptr;
}
