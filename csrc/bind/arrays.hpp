#pragma once

#include <pybind11/numpy.h>

#include <cstdint>
#include <string>

// NumPy arrays, read and written in place.
namespace nibblevec {

namespace py = pybind11;

template <typename Number>
using Array = py::array_t<Number, py::array::c_style>;

// The Python side copies arrays that are not; from here on pointers are typed.
inline void check_aligned(const py::array& array, const char* name) {
    constexpr int kAligned = py::detail::npy_api::NPY_ARRAY_ALIGNED_;
    if ((array.flags() & kAligned) == 0)
        throw py::value_error(std::string(name).append(" must be aligned"));
}

// The call writes into `out` while it reads the input.
inline void check_apart(const Array<float>& out, const void* input, size_t input_bytes,
                        const char* name) {
    const auto begin = reinterpret_cast<uintptr_t>(out.data());
    const auto other = reinterpret_cast<uintptr_t>(input);
    if (begin < other + input_bytes && other < begin + static_cast<size_t>(out.nbytes()))
        throw py::value_error(std::string("out overlaps ").append(name));
}

}  // namespace nibblevec
