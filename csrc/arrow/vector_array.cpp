#include "arrow/vector_array.hpp"

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <limits>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>

namespace nibblevec {

namespace {

// As Arrow recommends for buffers.
constexpr std::align_val_t kAlignment{64};

// A page fault for each 4 KB, two vectors, takes longer than the head of a vector: ask for huge
// pages, from the size on where NumPy does.
void ask_for_huge_pages([[maybe_unused]] void* memory, [[maybe_unused]] size_t byte_count) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    constexpr size_t kWorthAsking = size_t{1} << 22;
    constexpr uintptr_t kPage = 4096;
    if (byte_count < kWorthAsking) return;
    const uintptr_t begin = reinterpret_cast<uintptr_t>(memory);
    const uintptr_t aligned = (begin + kPage - 1) / kPage * kPage;
    madvise(reinterpret_cast<void*>(aligned), byte_count - (aligned - begin), MADV_HUGEPAGE);
#endif
}

// The content of an exported schema. Its child is a struct of its own: a consumer may move it out,
// and release the rest.
struct SchemaContent {
    std::string format;
    ArrowSchema child;
    ArrowSchema* children[1];
};

void release_child_schema(ArrowSchema* schema) { schema->release = nullptr; }

void release_schema(ArrowSchema* schema) {
    const std::unique_ptr<SchemaContent> content(static_cast<SchemaContent*>(schema->private_data));
    if (content->child.release != nullptr) content->child.release(&content->child);
    schema->release = nullptr;
}

// The content of an exported array, or of the child of one.
struct ArrayContent {
    std::shared_ptr<const VectorRows> rows;
    std::vector<int32_t> offsets;
    std::array<const void*, 2> buffers{};
    ArrowArray child{};
    ArrowArray* children[1]{};
};

void release_array(ArrowArray* array) {
    const std::unique_ptr<ArrayContent> content(static_cast<ArrayContent*>(array->private_data));
    if (content->child.release != nullptr) content->child.release(&content->child);
    array->release = nullptr;
}

// `count` vectors from `begin` on, a multiple of 8 for the sake of the bitmap.
void export_rows(const std::shared_ptr<const VectorRows>& rows, ListType type, size_t begin,
                 size_t count, ArrowArray& array) {
    const size_t dims = rows->dims();
    auto values = std::make_unique<ArrayContent>();
    values->rows = rows;
    values->buffers = {nullptr, rows->data() + begin * dims};
    auto lists = std::make_unique<ArrayContent>();
    lists->rows = rows;
    lists->buffers[0] = rows->validity() == nullptr ? nullptr : rows->validity() + begin / 8;
    if (type == ListType::list) {
        lists->offsets.resize(count + 1);
        for (size_t i = 0; i <= count; ++i) lists->offsets[i] = static_cast<int32_t>(i * dims);
        lists->buffers[1] = lists->offsets.data();
    }
    lists->child.length = static_cast<int64_t>(count * dims);
    lists->child.n_buffers = 2;
    lists->child.buffers = values->buffers.data();
    lists->child.private_data = values.release();
    lists->child.release = release_array;
    lists->children[0] = &lists->child;

    array = {};
    array.length = static_cast<int64_t>(count);
    array.null_count = static_cast<int64_t>(rows->count_nulls(begin, count));
    array.n_buffers = type == ListType::list ? 2 : 1;
    array.buffers = lists->buffers.data();
    array.n_children = 1;
    array.children = lists->children;
    array.private_data = lists.release();
    array.release = release_array;
}

struct StreamContent {
    std::vector<std::shared_ptr<const VectorRows>> parts;
    size_t dims;
    ListType type;
    size_t array_vectors;  // at most
    size_t part = 0;
    size_t begin = 0;  // in that part
};

StreamContent& content_of(ArrowArrayStream* stream) {
    return *static_cast<StreamContent*>(stream->private_data);
}

// Nothing may be thrown through C.
template <typename Work>
int error_code_of(const Work& work) {
    try {
        work();
    } catch (const std::bad_alloc&) {
        return ENOMEM;
    }
    return 0;
}

int stream_schema(ArrowArrayStream* stream, ArrowSchema* schema) {
    const StreamContent& content = content_of(stream);
    return error_code_of([&] { export_schema(content.dims, content.type, *schema); });
}

int stream_next(ArrowArrayStream* stream, ArrowArray* array) {
    StreamContent& content = content_of(stream);
    *array = {};
    if (content.part == content.parts.size()) return 0;
    const auto& rows = content.parts[content.part];
    const size_t count = std::min(content.array_vectors, rows->count() - content.begin);
    const int code =
        error_code_of([&] { export_rows(rows, content.type, content.begin, count, *array); });
    if (code != 0) return code;
    content.begin += count;
    if (content.begin == rows->count()) {
        ++content.part;
        content.begin = 0;
    }
    return 0;
}

// The code says all.
const char* stream_error(ArrowArrayStream*) { return nullptr; }

void release_stream(ArrowArrayStream* stream) {
    const std::unique_ptr<StreamContent> content(static_cast<StreamContent*>(stream->private_data));
    stream->release = nullptr;
}

}  // namespace

void VectorRows::Free::operator()(float* values) const { ::operator delete[](values, kAlignment); }

std::unique_ptr<float[], VectorRows::Free> VectorRows::allocated(size_t count, size_t dims) {
    constexpr size_t kMost = std::numeric_limits<ptrdiff_t>::max() / sizeof(float);
    if (count > kMost / dims) throw std::bad_alloc();
    const size_t byte_count = std::max<size_t>(1, count * dims * sizeof(float));
    void* memory = ::operator new[](byte_count, kAlignment, std::nothrow);
    if (memory == nullptr) throw std::bad_alloc();
    ask_for_huge_pages(memory, byte_count);
    return std::unique_ptr<float[], Free>(static_cast<float*>(memory));
}

VectorRows::VectorRows(const TextBatch& texts, size_t dims)
    : count_(texts.count()), dims_(dims), values_(allocated(count_, dims)) {
    for (auto null = texts.next_null(0); null; null = texts.next_null(*null + 1)) set_null(*null);
}

VectorRows::VectorRows(const std::vector<std::shared_ptr<const VectorRows>>& parts, size_t dims)
    : dims_(dims) {
    for (const auto& part : parts) count_ += part->count_;
    values_ = allocated(count_, dims);
    size_t begin = 0;
    for (const auto& part : parts) {
        std::memcpy(values_.get() + begin * dims, part->data(),
                    part->count_ * dims * sizeof(float));
        for (size_t i = 0; part->null_count_ > 0 && i < part->count_; ++i)
            if (part->is_null(i)) set_null(begin + i);
        begin += part->count_;
    }
}

VectorRows::VectorRows(const float* values, std::span<const uint8_t> validity, size_t count,
                       size_t dims)
    : count_(count), dims_(dims), values_(allocated(count, dims)) {
    if (count > 0) std::memcpy(values_.get(), values, count * dims * sizeof(float));
    for (size_t i = 0; !validity.empty() && i < count; ++i)
        if ((validity[i / 8] >> i % 8 & 1) == 0) set_null(i);
}

void VectorRows::set_null(size_t i) {
    if (validity_.empty()) validity_.assign((count_ + 7) / 8, 0xff);
    validity_[i / 8] = static_cast<uint8_t>(validity_[i / 8] & ~(1u << i % 8));
    ++null_count_;
}

size_t VectorRows::count_nulls(size_t begin, size_t count) const {
    if (null_count_ == 0 || count == count_) return null_count_;
    size_t nulls = 0;
    for (size_t i = begin; i < begin + count; ++i) nulls += is_null(i);
    return nulls;
}

void VectorRows::blank_nulls() {
    for (size_t i = 0; null_count_ > 0 && i < count_; ++i)
        if (is_null(i))
            std::fill_n(values_.get() + i * dims_, dims_, std::numeric_limits<float>::quiet_NaN());
}

void export_schema(size_t dims, ListType type, ArrowSchema& schema) {
    auto content = std::make_unique<SchemaContent>();
    content->format = type == ListType::list ? "+l" : "+w:" + std::to_string(dims);
    content->child = {};
    content->child.format = "f";
    content->child.name = "item";
    content->child.flags = kArrowNullable;
    content->child.release = release_child_schema;
    content->children[0] = &content->child;

    schema = {};
    schema.format = content->format.c_str();
    schema.name = "";
    schema.flags = kArrowNullable;
    schema.n_children = 1;
    schema.children = content->children;
    schema.private_data = content.release();
    schema.release = release_schema;
}

void export_array(const std::shared_ptr<const VectorRows>& rows, ListType type, ArrowArray& array) {
    if (type == ListType::list && rows->count() > kMaxListValues / rows->dims())
        throw std::length_error(std::to_string(rows->count()) + " vectors of " +
                                std::to_string(rows->dims()) +
                                " dims are more than one List holds; take them as a stream");
    export_rows(rows, type, 0, rows->count(), array);
}

void export_stream(std::vector<std::shared_ptr<const VectorRows>> parts, size_t dims, ListType type,
                   size_t max_values, ArrowArrayStream& stream) {
    auto content = std::make_unique<StreamContent>();
    content->parts = std::move(parts);
    content->dims = dims;
    content->type = type;
    content->array_vectors = std::numeric_limits<size_t>::max();
    if (type == ListType::list)
        content->array_vectors = std::max<size_t>(8, max_values / dims / 8 * 8);
    stream.get_schema = stream_schema;
    stream.get_next = stream_next;
    stream.get_last_error = stream_error;
    stream.private_data = content.release();
    stream.release = release_stream;
}

}  // namespace nibblevec
