#pragma once
// Columns as structs of the Arrow C interface, which count their releases.

#include <cstring>
#include <limits>
#include <memory>
#include <vector>

#include "arrow/c_data.hpp"
#include "arrow_column.hpp"

namespace nibblevec::fuzz {

struct Counts {
    size_t given = 0;
    size_t released = 0;
};

template <class Struct>
struct Held {
    Counts* counts = nullptr;  // of the top one only
    std::vector<std::unique_ptr<Struct>> structs;
    std::vector<Struct*> children;
    std::vector<const void*> buffers;

    ~Held() {
        for (auto& below : structs)
            if (below->release != nullptr) below->release(below.get());
    }
};

template <class Struct>
inline void release_held(Struct* content) {
    require(content->release != nullptr);
    const std::unique_ptr<Held<Struct>> held(static_cast<Held<Struct>*>(content->private_data));
    if (held->counts != nullptr) ++held->counts->released;
    content->release = nullptr;
}

inline void make_schema(Column& column, Counts* counts, ArrowSchema& schema) {
    auto held = std::make_unique<Held<ArrowSchema>>();
    held->counts = counts;
    schema = {};
    // A copy, gone when it is released.
    schema.format = column.has_no_format ? nullptr : column.format.c_str();
    schema.name = column.name.empty() ? nullptr : column.name.c_str();
    if (column.metadata)
        schema.metadata = reinterpret_cast<const char*>(column.metadata->bytes.get());
    for (Column& child : column.children) {
        held->structs.push_back(std::make_unique<ArrowSchema>());
        make_schema(child, nullptr, *held->structs.back());
        held->children.push_back(held->structs.back().get());
    }
    schema.n_children =
        column.schema_child_count.value_or(static_cast<int64_t>(held->children.size()));
    if (!column.has_no_children) schema.children = held->children.data();
    if (column.dictionary) {
        held->structs.push_back(std::make_unique<ArrowSchema>());
        make_schema(*column.dictionary, nullptr, *held->structs.back());
        schema.dictionary = held->structs.back().get();
    }
    if (column.schema_is_released) return;
    if (counts != nullptr) ++counts->given;
    schema.private_data = held.release();
    schema.release = release_held<ArrowSchema>;
}

inline void make_array(Column& column, Counts* counts, ArrowArray& array) {
    auto held = std::make_unique<Held<ArrowArray>>();
    held->counts = counts;
    array = {};
    array.length = column.length;
    array.null_count = column.null_count;
    array.offset = column.offset;
    for (const auto& buffer : column.buffers)
        held->buffers.push_back(buffer ? buffer->bytes.get() : nullptr);
    array.n_buffers = column.buffer_count.value_or(static_cast<int64_t>(held->buffers.size()));
    if (!column.has_no_buffers && !held->buffers.empty()) array.buffers = held->buffers.data();
    for (Column& child : column.children) {
        held->structs.push_back(std::make_unique<ArrowArray>());
        make_array(child, nullptr, *held->structs.back());
        held->children.push_back(held->structs.back().get());
    }
    array.n_children = column.child_count.value_or(static_cast<int64_t>(held->children.size()));
    if (!column.has_no_children) array.children = held->children.data();
    if (column.dictionary && !column.has_no_dictionary) {
        held->structs.push_back(std::make_unique<ArrowArray>());
        make_array(*column.dictionary, nullptr, *held->structs.back());
        array.dictionary = held->structs.back().get();
    }
    if (column.array_is_released) return;
    if (counts != nullptr) ++counts->given;
    array.private_data = held.release();
    array.release = release_held<ArrowArray>;
}

// A stream over columns.
struct Stream {
    std::vector<Column>* columns;
    size_t next = 0;
    size_t fails_at = std::numeric_limits<size_t>::max();
    bool leaves_rubbish = false;
    bool has_schema = true;
    const char* message = nullptr;
    Counts arrays, schemas;
    size_t released = 0;
};

inline Stream& stream_of(ArrowArrayStream* stream) {
    return *static_cast<Stream*>(stream->private_data);
}

inline int get_schema(ArrowArrayStream* stream, ArrowSchema* schema) {
    Stream& content = stream_of(stream);
    if (!content.has_schema) {
        std::memset(schema, 0xee, sizeof *schema);
        return 5;
    }
    make_schema(content.columns->front(), &content.schemas, *schema);
    return 0;
}

inline int get_next(ArrowArrayStream* stream, ArrowArray* array) {
    Stream& content = stream_of(stream);
    require(stream->release != nullptr);
    if (content.next == content.fails_at) {
        if (content.leaves_rubbish) std::memset(array, 0xee, sizeof *array);
        return 22;
    }
    std::memset(static_cast<void*>(array), 0, sizeof *array);
    if (content.next == content.columns->size()) {
        content.next = content.columns->size() + 1;  // not to be asked again
        return 0;
    }
    require(content.next < content.columns->size());
    make_array((*content.columns)[content.next++], &content.arrays, *array);
    return 0;
}

inline const char* get_last_error(ArrowArrayStream* stream) { return stream_of(stream).message; }

inline void release_stream(ArrowArrayStream* stream) {
    ++stream_of(stream).released;
    stream->release = nullptr;
}

}  // namespace nibblevec::fuzz
