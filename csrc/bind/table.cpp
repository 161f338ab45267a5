#include "bind/table.hpp"

#include <span>
#include <string>

#include "bind/module.hpp"
#include "quantize/quantize.hpp"
#include "rows/checked_table.hpp"
#include "threads/call.hpp"

namespace nibblevec {

namespace {

std::span<const uint8_t> contiguous_bytes(const Py_buffer& buffer) {
    if (buffer.itemsize != 1 || buffer.ndim != 1 || buffer.strides[0] != 1)
        throw py::value_error("the buffer of a table must be one-dimensional bytes, contiguous");
    return {static_cast<const uint8_t*>(buffer.buf), static_cast<size_t>(buffer.len)};
}

}  // namespace

Table::Table(const py::buffer& buffer, int64_t dim, const std::string& format)
    : buffer_(buffer),
      view_(checked_table(contiguous_bytes(*buffer_), dim, row_format_named(format))) {}

// A checked copy: another thread may change the array while the GIL is released.
std::vector<uint32_t> checked_row_ids(const py::array& ids, size_t row_count) {
    if (ids.ndim() != 1) throw py::value_error("ids must have one dimension");
    if (!(ids.flags() & py::array::c_style) || ids.dtype().byteorder() == '>')
        throw py::value_error("ids must be contiguous and in native byte order");
    check_aligned(ids, "ids");
    // A negative id becomes a huge one.
    const auto check_and_copy = [&]<typename Integer>(Integer) {
        const auto* numbers = static_cast<const Integer*>(ids.data());
        std::vector<uint32_t> rows(static_cast<size_t>(ids.size()));
        for (size_t i = 0; i < rows.size(); ++i) {
            const Integer id = numbers[i];
            if (static_cast<uint64_t>(id) >= row_count)
                throw py::index_error("id " + std::to_string(id) + " at position " +
                                      std::to_string(i) + " is not below the table's " +
                                      std::to_string(row_count) + " rows");
            rows[i] = static_cast<uint32_t>(id);
        }
        return rows;
    };
    const char kind = ids.dtype().kind();
    const auto width = ids.itemsize();
    if (kind == 'u' && width == 1) return check_and_copy(uint8_t{});
    if (kind == 'u' && width == 2) return check_and_copy(uint16_t{});
    if (kind == 'u' && width == 4) return check_and_copy(uint32_t{});
    if (kind == 'u' && width == 8) return check_and_copy(uint64_t{});
    if (kind == 'i' && width == 1) return check_and_copy(int8_t{});
    if (kind == 'i' && width == 2) return check_and_copy(int16_t{});
    if (kind == 'i' && width == 4) return check_and_copy(int32_t{});
    if (kind == 'i' && width == 8) return check_and_copy(int64_t{});
    throw py::type_error("ids must be integers, not " +
                         py::cast<std::string>(py::str(ids.dtype())));
}

size_t checked_out_dims(const Array<float>& out, size_t vector_count, const Table& table) {
    check_aligned(out, "out");
    if (out.ndim() != 2 || static_cast<size_t>(out.shape(0)) != vector_count)
        throw py::value_error("out must be float32 [" + std::to_string(vector_count) + ", dims]");
    const auto dims = static_cast<size_t>(out.shape(1));
    if (dims == 0 || dims > table.view().dim)
        throw py::value_error("dims " + std::to_string(dims) + " is not in 1.." +
                              std::to_string(table.view().dim));
    check_apart(out, table.bytes(), table.byte_count(), "the table");
    return dims;
}

namespace {

const RowFormatTraits& traits_of(const Table& table) {
    return row_formats()[static_cast<size_t>(table.view().format)];
}

Array<float> dequantize(const Table& table, const py::array& row_ids) {
    const std::vector<uint32_t> ids = checked_row_ids(row_ids, table.view().row_count);
    const RowFormatTraits& traits = traits_of(table);
    const size_t dim = table.view().dim;
    Array<float> weights({ids.size(), dim});
    float* out = weights.mutable_data();
    run_without_gil([&](Interruption& interruption) {
        constexpr size_t kBlockRows = 256;
        run_blocks(ids.size(), kBlockRows, 1, interruption, [&](size_t begin, size_t end) {
            for (size_t i = begin; i < end; ++i)
                traits.decode_row(table.view(), ids[i], out + i * dim);
        });
    });
    return weights;
}

py::array_t<uint8_t> quantize(const Array<float>& weights, const std::string& format, bool search,
                              size_t threads) {
    const Quantizer& quantizer = quantizer_of(row_format_named(format), search);
    check_aligned(weights, "weights");
    if (weights.ndim() != 2) throw py::value_error("weights must be float32 [rows, dim]");
    const FloatRows rows{weights.data(), static_cast<size_t>(weights.shape(0)),
                         static_cast<size_t>(weights.shape(1))};
    py::array_t<uint8_t> packed(packed_bytes(quantizer.format, rows));
    uint8_t* bytes = packed.mutable_data();
    run_without_gil([&](Interruption& interruption) {
        quantize_rows(quantizer, rows, threads, interruption, bytes);
    });
    return packed;
}

py::dict block_dims_by_row_format() {
    py::dict block_dims;
    for (const RowFormatTraits& traits : row_formats()) block_dims[traits.name] = traits.block_dims;
    return block_dims;
}

}  // namespace

void bind_table(py::module_& module) {
    py::class_<Table>(module, "Table")
        .def(py::init<const py::buffer&, int64_t, const std::string&>(), py::arg("buffer"),
             py::arg("dim"), py::arg("format"))
        .def_property_readonly("rows", [](const Table& table) { return table.view().row_count; })
        .def_property_readonly("dim", [](const Table& table) { return table.view().dim; })
        .def_property_readonly("format", [](const Table& table) { return traits_of(table).name; });
    module.def("row_formats", &block_dims_by_row_format);
    module.def("dequantize", &dequantize, py::arg("table"), py::arg("row_ids"));
    module.def("quantize", &quantize, py::arg("weights").noconvert(), py::arg("format"),
               py::kw_only(), py::arg("search") = true, py::arg("threads") = 1);
}

}  // namespace nibblevec
