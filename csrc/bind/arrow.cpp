#include "bind/arrow.hpp"

#include <pybind11/stl.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "arrow/vector_array.hpp"
#include "bind/arrays.hpp"
#include "bind/call.hpp"
#include "bind/module.hpp"
#include "text/transcoding.hpp"

namespace nibblevec {

namespace {

template <class Struct>
constexpr const char* kCapsuleName = nullptr;
template <>
constexpr const char* kCapsuleName<ArrowSchema> = "arrow_schema";
template <>
constexpr const char* kCapsuleName<ArrowArray> = "arrow_array";
template <>
constexpr const char* kCapsuleName<ArrowArrayStream> = "arrow_array_stream";

// Takes over what a capsule holds.
template <class Struct>
Owned<Struct> taken(const py::object& capsule) {
    const char* name = kCapsuleName<Struct>;
    if (PyCapsule_IsValid(capsule.ptr(), name) == 0)
        throw py::type_error("expected a capsule named '" + std::string(name) + "', not " +
                             py::cast<std::string>(py::repr(capsule)));
    auto* content = static_cast<Struct*>(PyCapsule_GetPointer(capsule.ptr(), name));
    if (content->release == nullptr)
        throw py::value_error("the capsule '" + std::string(name) +
                              "' is released, or was taken before");
    return Owned<Struct>(*content);
}

// A capsule of a struct that `fill` fills, released with the capsule if nobody takes it.
template <class Struct>
py::object capsule_of(const std::function<void(Struct&)>& fill) {
    auto content = std::make_unique<Struct>();
    fill(*content);
    PyObject* capsule = PyCapsule_New(content.get(), kCapsuleName<Struct>, [](PyObject* object) {
        const std::unique_ptr<Struct> held(
            static_cast<Struct*>(PyCapsule_GetPointer(object, kCapsuleName<Struct>)));
        if (held->release != nullptr) held->release(held.get());
    });
    if (capsule == nullptr) {
        content->release(content.get());
        throw py::error_already_set();
    }
    content.release();
    return py::reinterpret_steal<py::object>(capsule);
}

// A producer may do anything when it is called, such as wait for a thread that wants the GIL.
template <class Content>
std::shared_ptr<Content> freed_without_gil(std::unique_ptr<Content> content) {
    return {content.release(), [](Content* held) {
                const WithoutGil released;
                delete held;
            }};
}

// Quotes what a producer wrote, which need not be UTF-8.
py::str message_of(const std::exception& error) {
    const std::string_view message = error.what();
    PyObject* string =
        PyUnicode_DecodeUTF8(message.data(), static_cast<Py_ssize_t>(message.size()), "replace");
    if (string == nullptr) throw py::error_already_set();
    return py::reinterpret_steal<py::str>(string);
}

[[noreturn]] void raise(PyObject* type, const py::object& argument) {
    py::set_error(type, argument);
    throw py::error_already_set();
}

// Runs `work` and translates its errors.
template <typename Work>
void run_producer(const Work& work) {
    try {
        run_without_gil(work);
    } catch (const NotTexts& error) {
        raise(PyExc_TypeError, message_of(error));
    } catch (const std::invalid_argument& error) {
        raise(PyExc_ValueError, message_of(error));
    } catch (const ProducerFailed& error) {
        if (error.code == EINVAL) raise(PyExc_ValueError, message_of(error));
        if (error.code == ENOMEM) throw std::bad_alloc();
        raise(PyExc_OSError, py::make_tuple(error.code, message_of(error)));
    }
}

std::shared_ptr<TextReader> read_array(const py::object& schema, const py::object& array,
                                       const std::optional<std::string>& column,
                                       bool nulls_are_empty) {
    auto taken_schema = taken<ArrowSchema>(schema);
    auto taken_array = taken<ArrowArray>(array);
    std::unique_ptr<TextReader> reader;
    run_producer([&](Interruption&) {
        reader = std::make_unique<TextReader>(std::move(taken_schema), std::move(taken_array),
                                              column, nulls_are_empty ? Nulls::empty : Nulls::keep);
    });
    return freed_without_gil(std::move(reader));
}

std::shared_ptr<TextReader> read_stream(const py::object& stream,
                                        const std::optional<std::string>& column,
                                        bool nulls_are_empty) {
    auto taken_stream = taken<ArrowArrayStream>(stream);
    std::unique_ptr<TextReader> reader;
    run_producer([&](Interruption&) {
        reader = std::make_unique<TextReader>(std::move(taken_stream), column,
                                              nulls_are_empty ? Nulls::empty : Nulls::keep);
    });
    return freed_without_gil(std::move(reader));
}

// Null at the end.
std::shared_ptr<TextBatch> read_batch(TextReader& reader) {
    std::unique_ptr<TextBatch> batch;
    run_producer([&](Interruption& interruption) { batch = reader.read(interruption); });
    return batch ? freed_without_gil(std::move(batch)) : nullptr;
}

std::shared_ptr<VectorRows> rows_for(const TextBatch& texts, size_t dims) {
    if (dims == 0) throw py::value_error("dims must be at least 1");
    std::shared_ptr<VectorRows> rows;
    run_without_gil([&](Interruption&) { rows = std::make_shared<VectorRows>(texts, dims); });
    return rows;
}

using Parts = std::vector<std::shared_ptr<const VectorRows>>;

Parts checked_parts(const std::vector<std::shared_ptr<VectorRows>>& parts, size_t dims) {
    if (dims == 0) throw py::value_error("dims must be at least 1");
    for (const auto& part : parts)
        if (part == nullptr || part->dims() != dims)
            throw py::value_error("parts must be of " + std::to_string(dims) + " dims");
    return {parts.begin(), parts.end()};
}

std::shared_ptr<VectorRows> joined(const std::vector<std::shared_ptr<VectorRows>>& parts,
                                   size_t dims) {
    const Parts checked = checked_parts(parts, dims);
    std::shared_ptr<VectorRows> rows;
    run_without_gil([&](Interruption&) { rows = std::make_shared<VectorRows>(checked, dims); });
    return rows;
}

ListType list_type_named(const std::string& name) {
    if (name == "fixed") return ListType::fixed;
    if (name == "list") return ListType::list;
    throw py::value_error("unknown list type '" + name + "', expected fixed or list");
}

py::object schema_capsule(size_t dims, const std::string& list_type) {
    const ListType type = list_type_named(list_type);
    return capsule_of<ArrowSchema>([&](ArrowSchema& schema) { export_schema(dims, type, schema); });
}

py::object array_capsule(const std::shared_ptr<VectorRows>& rows, const std::string& list_type) {
    const ListType type = list_type_named(list_type);
    return capsule_of<ArrowArray>([&](ArrowArray& array) { export_array(rows, type, array); });
}

py::object stream_capsule(const std::vector<std::shared_ptr<VectorRows>>& parts, size_t dims,
                          const std::string& list_type, size_t max_values) {
    const ListType type = list_type_named(list_type);
    Parts checked = checked_parts(parts, dims);
    return capsule_of<ArrowArrayStream>([&](ArrowArrayStream& stream) {
        export_stream(std::move(checked), dims, type, std::min(max_values, kMaxListValues), stream);
    });
}

// Rows as an array that keeps them.
py::array_t<float> array_of(const std::shared_ptr<VectorRows>& rows) {
    return py::array_t<float>({rows->count(), rows->dims()}, rows->data(), py::cast(rows));
}

// A pickle keeps the values of rows as an array, which protocol 5 hands on without a copy, and the
// bits that tell which rows are null: no bytes if none is.
py::tuple state_of(const std::shared_ptr<VectorRows>& rows) {
    const std::span<const uint8_t> validity = rows->validity_bytes();
    return py::make_tuple(
        array_of(rows), py::bytes(reinterpret_cast<const char*>(validity.data()), validity.size()));
}

std::shared_ptr<VectorRows> rows_of_state(const py::tuple& state) {
    if (state.size() != 2) throw py::value_error("the state of rows is a pair");
    const auto numbers = py::cast<Array<float>>(state[0]);
    const auto validity = py::cast<std::string_view>(state[1]);
    if (numbers.ndim() != 2 || numbers.shape(1) == 0)
        throw py::value_error("the numbers of rows have two dimensions");
    const auto count = static_cast<size_t>(numbers.shape(0));
    if (!validity.empty() && validity.size() != (count + 7) / 8)
        throw py::value_error("the bits of " + std::to_string(count) + " rows are " +
                              std::to_string(validity.size()) + " bytes");
    const std::span<const uint8_t> bits(reinterpret_cast<const uint8_t*>(validity.data()),
                                        validity.size());
    const auto dims = static_cast<size_t>(numbers.shape(1));
    const float* data = numbers.data();
    std::shared_ptr<VectorRows> rows;
    run_without_gil(
        [&](Interruption&) { rows = std::make_shared<VectorRows>(data, bits, count, dims); });
    return rows;
}

}  // namespace

TextBlock::TextBlock(std::shared_ptr<const TextBatch> batch, size_t begin, size_t end)
    : batch_(std::move(batch)), begin_(begin), end_(end) {
    if (begin > end || end > batch_->count())
        throw py::index_error("a batch of " + std::to_string(batch_->count()) + " texts");
}

py::tuple TextBlock::strings() const {
    const std::vector<TextView> texts = views(std::nullopt);
    py::tuple strings(texts.size());
    for (size_t i = 0; i < texts.size(); ++i) {
        const TextView& text = texts[i];
        if (text.is_absent) {
            strings[i] = py::none();
            continue;
        }
        PyObject* string = PyUnicode_DecodeUTF8(static_cast<const char*>(text.data),
                                                static_cast<Py_ssize_t>(text.length), nullptr);
        if (string == nullptr) {
            const py::error_already_set error;  // Python checked; its words name no text
            check_utf8(text, batch_->first_number() + begin_ + i);
            throw error;
        }
        strings[i] = py::reinterpret_steal<py::str>(string);
    }
    return strings;
}

void bind_arrow(py::module_& module) {
    py::class_<TextReader, std::shared_ptr<TextReader>>(module, "TextReader")
        .def_static("of_array", &read_array, py::arg("schema"), py::arg("array"), py::kw_only(),
                    py::arg("column"), py::arg("nulls_are_empty"))
        .def_static("of_stream", &read_stream, py::arg("stream"), py::kw_only(), py::arg("column"),
                    py::arg("nulls_are_empty"))
        .def("read", &read_batch);
    py::class_<TextBatch, std::shared_ptr<TextBatch>>(module, "TextBatch")
        .def("__len__", &TextBatch::count)
        .def_property_readonly("first_number", &TextBatch::first_number)
        .def_property_readonly("first_null",
                               [](const TextBatch& batch) { return batch.next_null(0); })
        .def(
            "block",
            [](std::shared_ptr<TextBatch> batch, size_t begin, size_t end) {
                return TextBlock(std::move(batch), begin, end);
            },
            py::arg("begin"), py::arg("end"));
    py::class_<TextBlock>(module, "TextBlock")
        .def("__len__", &TextBlock::count)
        .def("strings", &TextBlock::strings);
    py::class_<VectorRows, std::shared_ptr<VectorRows>>(module, "VectorRows")
        .def(py::init(&rows_for), py::arg("texts"), py::arg("dims"))
        .def_static("joined", &joined, py::arg("parts"), py::arg("dims"))
        .def("__len__", &VectorRows::count)
        .def_property_readonly("null_count", &VectorRows::null_count)
        .def_property_readonly("array", &array_of)
        .def("blank_nulls", &VectorRows::blank_nulls, py::call_guard<WithoutGil>())
        .def("state", &state_of)
        .def_static("of_state", &rows_of_state, py::arg("state"));
    module.def("arrow_schema", &schema_capsule, py::arg("dims"), py::arg("list_type"));
    module.def("arrow_array", &array_capsule, py::arg("rows"), py::arg("list_type"));
    module.def("arrow_stream", &stream_capsule, py::arg("parts"), py::arg("dims"),
               py::arg("list_type"), py::arg("max_values") = kMaxListValues);
}

}  // namespace nibblevec
