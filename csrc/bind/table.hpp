#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "bind/arrays.hpp"
#include "bind/call.hpp"
#include "rows/table_view.hpp"

namespace nibblevec {

// The bytes of a Python object, held so that they can be neither freed nor resized.
class HeldBytes {
  public:
    explicit HeldBytes(const py::buffer& object) {
        if (PyObject_GetBuffer(object.ptr(), &buffer_, PyBUF_STRIDES) != 0)
            throw py::error_already_set();
    }
    // The last holder of a memory map unmaps it, without the GIL meanwhile.
    ~HeldBytes() {
        keep_thread([this] { PyBuffer_Release(&buffer_); });
    }
    HeldBytes(const HeldBytes&) = delete;
    HeldBytes& operator=(const HeldBytes&) = delete;

    const Py_buffer& operator*() const { return buffer_; }
    const Py_buffer* operator->() const { return &buffer_; }

  private:
    Py_buffer buffer_;
};

// A table and the bytes that it lies in.
class Table {
  public:
    Table(const py::buffer& buffer, int64_t dim, const std::string& format);

    const TableView& view() const { return view_; }
    const void* bytes() const { return buffer_->buf; }
    size_t byte_count() const { return static_cast<size_t>(buffer_->len); }

  private:
    HeldBytes buffer_;
    TableView view_;
};

// Row numbers as uint32. Throws IndexError unless each is below `row_count`.
std::vector<uint32_t> checked_row_ids(const py::array& ids, size_t row_count);

// The dims of the vectors that a call writes into `out`, [vector_count, dims].
size_t checked_out_dims(const Array<float>& out, size_t vector_count, const Table& table);

}  // namespace nibblevec
