#pragma once

#include <pybind11/numpy.h>

#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "bind/call.hpp"
#include "encoder/pooling.hpp"
#include "kernel/kernel.hpp"
#include "rows/half.hpp"
#include "rows/table_view.hpp"

// The objects that Python holds, and the checks of what it passes.
namespace nibblevec {

inline constexpr size_t kMaxRows = std::numeric_limits<uint32_t>::max();

inline constexpr const char* kFormatNames[kRowFormatCount] = {
    "sse_q4", "float32", "float16", "bfloat16", "int8", "q4_k", "q6_k"};

inline RowFormat format_named(const std::string& name) {
    std::string known;
    for (size_t i = 0; i < kRowFormatCount; ++i) {
        if (name == kFormatNames[i]) return static_cast<RowFormat>(i);
        known += std::string(i == 0 ? "" : ", ") + kFormatNames[i];
    }
    throw py::value_error("unknown row format '" + name + "', expected one of " + known);
}

inline const char* name_of(RowFormat format) { return kFormatNames[static_cast<size_t>(format)]; }

// The Python side copies what is not; from here on pointers are typed.
inline void check_aligned(const py::array& array, const char* name) {
    constexpr int kAligned = py::detail::npy_api::NPY_ARRAY_ALIGNED_;
    if ((array.flags() & kAligned) == 0)
        throw py::value_error(std::string(name) + " must be aligned");
}

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
    Table(const py::buffer& buffer, int64_t dim, const std::string& format)
        : buffer_(buffer), view_(checked_view(*buffer_, checked_dim(dim), format_named(format))) {}

    const TableView& view() const { return view_; }
    const void* bytes() const { return buffer_->buf; }
    size_t byte_count() const { return static_cast<size_t>(buffer_->len); }

  private:
    static size_t checked_dim(int64_t dim) {
        if (dim < 1 || dim > (int64_t{1} << 24))
            throw py::value_error("dim " + std::to_string(dim) + " is not in 1..16777216");
        return static_cast<size_t>(dim);
    }

    static TableView checked_view(const Py_buffer& buffer, size_t dim, RowFormat format) {
        if (buffer.itemsize != 1 || buffer.ndim != 1 || buffer.strides[0] != 1)
            throw py::value_error(
                "the buffer of a table must be one-dimensional bytes, contiguous");
        if (format == RowFormat::sse_q4 && dim % 2 != 0)
            throw py::value_error("dim " + std::to_string(dim) +
                                  " is odd; sse_q4 packs two dimensions in a byte");
        if (dim % dim_unit(format) != 0)
            throw py::value_error("dim " + std::to_string(dim) + " is not a multiple of " +
                                  std::to_string(dim_unit(format)) + ", the superblock of " +
                                  name_of(format));
        const size_t scale_bytes = format == RowFormat::sse_q4 ? sizeof(float) : 0;
        const size_t stride = row_bytes(format, dim) + scale_bytes;
        const auto size = static_cast<size_t>(buffer.len);
        if (size == 0 || size % stride != 0)
            throw py::value_error(std::to_string(size) +
                                  " bytes, expected a whole number of rows of " +
                                  std::to_string(stride) + " bytes (" + name_of(format) + ", dim " +
                                  std::to_string(dim) + ")");
        const size_t row_count = size / stride;
        if (row_count > kMaxRows)
            throw py::value_error(std::to_string(row_count) + " rows, expected at most " +
                                  std::to_string(kMaxRows));
        const auto* bytes = static_cast<const uint8_t*>(buffer.buf);
        const uint8_t* scales = nullptr;
        if (format == RowFormat::sse_q4) {
            scales = bytes + row_count * row_bytes(format, dim);
            check_scales(scales, row_count);
        }
        if (format == RowFormat::q4_k) {
            check_superblocks<Q4KBlock>(bytes, row_count, dim, "d", offsetof(Q4KBlock, d));
            check_superblocks<Q4KBlock>(bytes, row_count, dim, "dmin", offsetof(Q4KBlock, dmin));
        }
        if (format == RowFormat::q6_k)
            check_superblocks<Q6KBlock>(bytes, row_count, dim, "d", offsetof(Q6KBlock, d));
        return make_table_view(format, row_count, dim, bytes, scales);
    }

    static void check_scales(const uint8_t* scales, size_t row_count) {
        for (size_t row = 0; row < row_count; ++row) {
            float scale;
            std::memcpy(&scale, scales + row * sizeof scale, sizeof scale);
            if (!std::isfinite(scale))
                throw py::value_error("scale of row " + std::to_string(row) + " is " +
                                      std::to_string(scale) + ", expected a finite number");
        }
    }

    // The float16 called `name`, which lies `offset` bytes into each superblock.
    template <class Block>
    static void check_superblocks(const uint8_t* bytes, size_t row_count, size_t dim,
                                  const char* name, size_t offset) {
        constexpr uint16_t kExponent = 0x7c00;  // all ones: an infinity or a NaN
        const size_t row_blocks = dim / Block::kDims;
        for (size_t i = 0; i < row_count * row_blocks; ++i) {
            uint16_t half;
            std::memcpy(&half, bytes + i * sizeof(Block) + offset, sizeof half);
            if ((half & kExponent) == kExponent)
                throw py::value_error(
                    std::string(name) + " of superblock " + std::to_string(i % row_blocks) +
                    " of row " + std::to_string(i / row_blocks) + " is " +
                    std::to_string(float32_from_float16(half)) + ", expected a finite number");
        }
    }

    HeldBytes buffer_;
    TableView view_;
};

// Dynamic Tanh's three vectors, of equal length.
class DynamicTanh {
  public:
    DynamicTanh(Array<float> alpha, Array<float> beta, Array<float> bias)
        : alpha_(std::move(alpha)), beta_(std::move(beta)), bias_(std::move(bias)) {
        if (alpha_.ndim() != 1 || beta_.ndim() != 1 || bias_.ndim() != 1 ||
            alpha_.size() != beta_.size() || alpha_.size() != bias_.size())
            throw py::value_error("alpha, beta and bias must be vectors of one length");
        check_aligned(alpha_, "alpha");
        check_aligned(beta_, "beta");
        check_aligned(bias_, "bias");
    }

    size_t dim() const { return static_cast<size_t>(alpha_.size()); }
    HeadView view(bool mean, Norm norm) const {
        return {alpha_.data(), beta_.data(), bias_.data(), mean, norm};
    }

  private:
    Array<float> alpha_, beta_, bias_;
};

inline Norm norm_named(const std::optional<std::string>& name) {
    if (!name) return Norm::none;
    if (*name == "torch") return Norm::torch;
    if (*name == "model2vec") return Norm::model2vec;
    if (*name == "model2vec_float16") return Norm::model2vec_float16;
    throw py::value_error("unknown normalization '" + *name + "'");
}

// For rows of `dims` dimensions at most.
inline HeadView head_view(const DynamicTanh* dynamic_tanh, size_t dims, bool mean, Norm norm) {
    if (dynamic_tanh == nullptr) return {nullptr, nullptr, nullptr, mean, norm};
    if (dims > dynamic_tanh->dim()) throw py::value_error("the head is shorter than the rows");
    return dynamic_tanh->view(mean, norm);
}

inline BagHead bag_head(const DynamicTanh* dynamic_tanh, const Table& table, size_t dims, bool mean,
                        const std::optional<std::string>& normalization, bool normalize,
                        bool wide_sums) {
    const Norm norm = norm_named(normalization);
    const size_t dim = table.view().dim;
    const size_t head_dims = norm == Norm::none ? dims : dim;
    return BagHead(head_view(dynamic_tanh, head_dims, mean, norm), dim, dims, normalize, wide_sums);
}

// What is written must not be what is read.
inline void check_apart(const Array<float>& out, const void* input, size_t input_bytes,
                        const char* name) {
    const auto begin = reinterpret_cast<uintptr_t>(out.data());
    const auto other = reinterpret_cast<uintptr_t>(input);
    if (begin < other + input_bytes && other < begin + static_cast<size_t>(out.nbytes()))
        throw py::value_error(std::string("out overlaps ") + name);
}

// The number of dimensions of rows that are written into `out`, [rows, dims].
inline size_t checked_out_dims(const Array<float>& out, size_t row_count, const Table& table) {
    check_aligned(out, "out");
    if (out.ndim() != 2 || static_cast<size_t>(out.shape(0)) != row_count)
        throw py::value_error("out must be float32 [" + std::to_string(row_count) + ", dims]");
    const auto dims = static_cast<size_t>(out.shape(1));
    if (dims == 0 || dims > table.view().dim)
        throw py::value_error("dims " + std::to_string(dims) + " is not in 1.." +
                              std::to_string(table.view().dim));
    check_apart(out, table.bytes(), table.byte_count(), "the table");
    return dims;
}

}  // namespace nibblevec
