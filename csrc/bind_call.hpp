#pragma once

#include <pybind11/numpy.h>

#include <optional>
#include <string>

#include "encoder/call.hpp"
#include "kernel/dispatch.hpp"

namespace nibblevec {

namespace py = pybind11;

template <typename Number>
using Array = py::array_t<Number, py::array::c_style>;

inline const Kernel& kernel_or_default(const std::optional<std::string>& name) {
    return name ? kernel_named(*name) : default_kernel();
}

// Runs `native` without the GIL; Ctrl-C ends it early and is raised here.
template <typename Native>
void run_without_gil(const Native& native) {
    bool interrupted = false;
    {
        const py::gil_scoped_release released;
        Interruption interruption([&] {
            const py::gil_scoped_acquire acquired;
            interrupted = interrupted || PyErr_CheckSignals() != 0;
            return interrupted;
        });
        try {
            native(interruption);
        } catch (...) {
            if (!interrupted) throw;
        }
    }
    if (interrupted) throw py::error_already_set();
}

}  // namespace nibblevec
