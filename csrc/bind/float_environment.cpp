#include "bind/float_environment.hpp"

#include <optional>

#include "encoder/float_environment.hpp"

namespace py = pybind11;

namespace nibblevec {

namespace {

// One for Python's `with`, which enters and leaves apart from construction and destruction.
class WithFloatEnvironment {
  public:
    void enter() { environment_.emplace(); }
    void leave(const py::args&) { environment_.reset(); }

  private:
    std::optional<DefaultFloatEnvironment> environment_;
};

}  // namespace

void bind_float_environment(py::module_& module) {
    py::class_<WithFloatEnvironment>(module, "DefaultFloatEnvironment")
        .def(py::init<>())
        .def("__enter__", &WithFloatEnvironment::enter)
        .def("__exit__", &WithFloatEnvironment::leave);
}

}  // namespace nibblevec
