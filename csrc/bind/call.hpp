#pragma once

#include <pybind11/pybind11.h>

#include "threads/call.hpp"

namespace nibblevec {

namespace py = pybind11;

// Releases the GIL while it lives. Python may end a thread that asks for the GIL; pybind11's own
// guard lets that unwind its destructor, which aborts the process.
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
