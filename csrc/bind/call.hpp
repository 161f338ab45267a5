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

// The GIL is released while it lives. pybind11's own guard lets a thread that may not have the GIL
// back be unwound through its destructor, which aborts the process.
class WithoutGil {
  public:
    WithoutGil() : state_(PyEval_SaveThread()) {}
    ~WithoutGil() { take(); }
    WithoutGil(const WithoutGil&) = delete;
    WithoutGil& operator=(const WithoutGil&) = delete;

    // Runs `call` with the GIL.
    template <typename Call>
    void interrupt(const Call& call) {
        take();
        call();
        state_ = PyEval_SaveThread();
    }

  private:
    void take() {
        keep_thread([this] { PyEval_RestoreThread(state_); });
    }

    PyThreadState* state_;
};

// Runs `native` without the GIL; Ctrl-C ends it early and is raised here.
template <typename Native>
void run_without_gil(const Native& native) {
    bool interrupted = false;
    {
        WithoutGil released;
        Interruption interruption([&] {
            released.interrupt([&] { interrupted = interrupted || PyErr_CheckSignals() != 0; });
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
