// libFuzzer's entry to the Arrow C interface: producers that tell the truth, or lie where it can be
// seen. No error of memory, all that was handed out released once, the texts of an honest producer
// as they are, and vectors out that say the same of nulls. CONTRIBUTING.md builds it.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "arrow/text_reader.hpp"
#include "arrow/vector_array.hpp"
#include "text/transcoding.hpp"

namespace {

using namespace nibblevec;

void require(bool holds) {
    if (!holds) std::abort();
}

// What the fuzzer gives, number by number; zeros behind its end.
class Choices {
  public:
    Choices(const uint8_t* data, size_t size) : data_(data), size_(size) {}

    size_t below(size_t count) {
        if (size_ == 0) return 0;
        --size_;
        return *data_++ % count;
    }
    bool one_in(size_t count) { return below(count) == count - 1; }
    int64_t odd_number() {
        constexpr int64_t kMin = std::numeric_limits<int64_t>::min();
        constexpr std::array<int64_t, 14> kNumbers = {-1,
                                                      0,
                                                      1,
                                                      -2,
                                                      7,
                                                      kMin,
                                                      -(kMin + 1),
                                                      int64_t{1} << 62,
                                                      (int64_t{1} << 57) + 1,
                                                      -(int64_t{1} << 31),
                                                      2,
                                                      3,
                                                      64,
                                                      -(kMin + 2)};
        return kNumbers[below(kNumbers.size())];
    }

  private:
    const uint8_t* data_;
    size_t size_;
};

struct Counts {
    size_t given = 0;
    size_t released = 0;
};

// Memory of its own for each buffer, no byte more than there must be.
struct Buffer {
    std::unique_ptr<uint8_t[]> bytes;
    size_t size = 0;

    explicit Buffer(size_t count) : bytes(new uint8_t[count]()), size(count) {}
    template <typename Number>
    void set(size_t i, Number number) {
        require((i + 1) * sizeof number <= size);
        std::memcpy(bytes.get() + i * sizeof number, &number, sizeof number);
    }
};

using Texts = std::vector<std::optional<std::string>>;

// A column as its producer makes it. `texts` are the truth about the slots in use.
struct Column {
    std::string format;
    std::string name;
    std::optional<Buffer> metadata;
    int64_t length = 0;
    int64_t offset = 0;
    int64_t null_count = 0;
    std::vector<std::optional<Buffer>> buffers;
    std::vector<Column> children;
    std::unique_ptr<Column> dictionary;
    Texts texts;
    bool lies = false;

    // Said instead, if not what is so.
    std::optional<int64_t> buffer_count, child_count, schema_child_count;
    bool has_no_format = false, has_no_buffers = false, has_no_children = false,
         has_no_dictionary = false, schema_is_released = false, array_is_released = false;
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
void release_held(Struct* content) {
    require(content->release != nullptr);
    const std::unique_ptr<Held<Struct>> held(static_cast<Held<Struct>*>(content->private_data));
    if (held->counts != nullptr) ++held->counts->released;
    content->release = nullptr;
}

void make_schema(Column& column, Counts* counts, ArrowSchema& schema) {
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

void make_array(Column& column, Counts* counts, ArrowArray& array) {
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

std::string some_text(Choices& choices) {
    constexpr std::array<std::string_view, 8> kTexts = {
        "",
        "tea",
        "twelve bytes",
        "thirteen byte",
        "a cup of tea and more",
        "caf\xc3\xa9",
        "\xff",
        "\xe4\xb8\xad\xe6\x96\x87 and thirteen \xe4\xb8"};
    return std::string(kTexts[choices.below(kTexts.size())]);
}

// The slots before and behind those in use hold texts as well.
struct SlotTexts {
    Texts all;
    size_t offset;
    size_t length;
};

SlotTexts some_slots(Choices& choices, size_t least_length) {
    SlotTexts slots;
    slots.offset = choices.one_in(2) ? choices.below(20) : 0;
    slots.length = least_length + choices.below(12);
    const bool has_nulls = choices.one_in(2);
    for (size_t i = 0; i < slots.offset + slots.length; ++i) {
        slots.all.emplace_back();
        if (!has_nulls || !choices.one_in(3)) slots.all.back() = some_text(choices);
    }
    return slots;
}

void add_validity(const Texts& all, size_t offset, Column& column, Choices& choices) {
    size_t nulls = 0;
    for (size_t i = offset; i < all.size(); ++i) nulls += !all[i];
    bool any = choices.one_in(4);
    for (const auto& text : all) any = any || !text;
    column.null_count = choices.one_in(2) ? static_cast<int64_t>(nulls) : -1;
    if (!any) return column.buffers.push_back(std::nullopt);
    Buffer bits((all.size() + 7) / 8);
    for (size_t i = 0; i < all.size(); ++i)
        if (all[i]) bits.bytes[i / 8] = static_cast<uint8_t>(bits.bytes[i / 8] | 1u << i % 8);
    column.buffers.push_back(std::move(bits));
}

// `end` is the last slot, of those of the array, that a consumer may look at.
template <typename Offset>
void add_offsets(const Texts& all, size_t end, Column& column, Choices& choices) {
    std::vector<Offset> offsets{static_cast<Offset>(choices.below(3))};
    std::string bytes(static_cast<size_t>(offsets[0]), '?');
    for (const auto& text : all) {
        if (text)
            bytes += *text;
        else if (choices.one_in(2))
            bytes += "\xff?";
        offsets.push_back(static_cast<Offset>(bytes.size()));
    }
    if (choices.one_in(8)) {
        column.lies = true;
        for (size_t change = choices.below(3) + 1; change-- > 0;)
            offsets[choices.below(offsets.size())] = static_cast<Offset>(choices.odd_number());
        // A last one that is a little too large cannot be seen.
        const auto last = static_cast<int64_t>(offsets[end]);
        if (last > static_cast<int64_t>(bytes.size()) && last < int64_t{1} << 57)
            offsets[end] = static_cast<Offset>(bytes.size());
    }
    Buffer numbers(offsets.size() * sizeof(Offset));
    for (size_t i = 0; i < offsets.size(); ++i) numbers.set(i, offsets[i]);
    column.buffers.push_back(std::move(numbers));
    Buffer data(bytes.size());
    std::ranges::copy(bytes, data.bytes.get());
    column.buffers.push_back(std::move(data));
}

void add_views(const Texts& all, Column& column, Choices& choices) {
    std::vector<std::string> parts(choices.below(3) + 1);
    Buffer views(all.size() * 16);
    for (size_t i = 0; i < all.size(); ++i) {
        const std::string text = all[i].value_or("");
        views.set(4 * i, static_cast<int32_t>(text.size()));
        if (text.size() <= 12) {
            std::ranges::copy(text, views.bytes.get() + 16 * i + 4);
        } else {
            const size_t part = choices.below(parts.size());
            std::copy_n(text.data(), 4, views.bytes.get() + 16 * i + 4);
            views.set(4 * i + 2, static_cast<int32_t>(part));
            views.set(4 * i + 3, static_cast<int32_t>(parts[part].size()));
            parts[part] += text;
        }
    }
    if (choices.one_in(8) && views.size > 0) {
        column.lies = true;
        views.set(choices.below(views.size / 4), static_cast<int32_t>(choices.odd_number()));
    }
    column.buffers.push_back(std::move(views));
    Buffer sizes(parts.size() * 8);
    for (size_t i = 0; i < parts.size(); ++i) {
        Buffer data(parts[i].size());
        std::ranges::copy(parts[i], data.bytes.get());
        column.buffers.push_back(std::move(data));
        auto size = static_cast<int64_t>(parts[i].size());
        if (choices.one_in(16)) {
            const int64_t other = choices.odd_number();
            if (other <= size || other > int64_t{1} << 57) {
                column.lies = column.lies || other != size;
                size = other;
            }
        }
        sizes.set(i, size);
    }
    column.buffers.push_back(std::move(sizes));
}

void tell_lies(Column& column, Choices& choices) {
    if (!choices.one_in(3)) return;
    column.lies = true;
    const int64_t number = choices.odd_number();
    switch (choices.below(13)) {
        case 0:  // as long as it can be, or shorter
            if (number < column.length || number > int64_t{1} << 57) column.length = number;
            break;
        case 1:
            if (number < column.offset || number > int64_t{1} << 57) column.offset = number;
            break;
        case 2:
            column.null_count = number;
            break;
        case 3:
            if (number < 3 || number > int64_t{1} << 57) column.buffer_count = number;
            break;
        case 4:
            column.has_no_buffers = true;
            break;
        case 5:
            if (!column.buffers.empty())
                column.buffers[choices.below(column.buffers.size())].reset();
            break;
        case 6:
            column.format =
                std::array{"f",       "",      "w:0", "w:-1", "w:99999999999", "+l",      "+r",
                           "\xff",    "uu",    "+m",  "+s",   "d:3",           "d:3,4,5", "ts",
                           "tsu:UTC", "+ud:0", "+w:", "tdD"}[choices.below(18)];
            break;
        case 7:
            column.has_no_format = true;
            break;
        case 8:
            column.schema_is_released = true;
            break;
        case 9:
            column.array_is_released = true;
            break;
        case 10:
            column.has_no_dictionary = true;
            break;
        case 11:
            column.child_count = number;
            break;
        default:
            column.has_no_children = true;
    }
}

// Pairs of key and value as the interface lays them down, or less than that.
Buffer some_metadata(Choices& choices, bool has_extension) {
    std::vector<std::string> texts = {"key", "value"};
    if (has_extension) texts.insert(texts.end(), {"ARROW:extension:name", "arrow.uuid"});
    std::string bytes;
    const auto add = [&](int32_t number) {
        bytes.append(reinterpret_cast<const char*>(&number), sizeof number);
    };
    add(static_cast<int32_t>(texts.size() / 2));
    for (const std::string& text : texts) {
        add(static_cast<int32_t>(text.size()));
        bytes += text;
    }
    if (!has_extension && choices.one_in(2)) {
        bytes.clear();
        add(choices.one_in(2) ? -1 : 1);
        add(std::numeric_limits<int32_t>::min());
    }
    Buffer buffer(bytes.size());
    std::ranges::copy(bytes, buffer.bytes.get());
    return buffer;
}

constexpr size_t kFixedKind = 5;

// Texts of one size each; those that are null have bytes as well.
void add_fixed(const Texts& all, size_t size, Column& column) {
    Buffer texts(all.size() * size);
    for (size_t i = 0; i < all.size(); ++i)
        std::ranges::copy(all[i].value_or(std::string(size, '\xff')), texts.bytes.get() + i * size);
    column.buffers.push_back(std::move(texts));
}

// `structs` use the slots of a child up to this one.
Column some_column(Choices& choices, size_t kind, size_t least_length,
                   std::optional<size_t> struct_end) {
    Column column;
    SlotTexts slots = some_slots(choices, least_length);
    const size_t fixed_size = std::array{1, 4, 13}[choices.below(3)];
    if (kind == kFixedKind)
        for (auto& text : slots.all)
            if (text) text->resize(fixed_size, '.');
    column.texts = {slots.all.begin() + static_cast<ptrdiff_t>(slots.offset), slots.all.end()};
    column.length = static_cast<int64_t>(slots.length);
    column.offset = static_cast<int64_t>(slots.offset);
    if (kind == 3) {  // all nulls
        column.format = "n";
        column.texts.assign(slots.length, std::nullopt);
        column.null_count = choices.one_in(2) ? column.length : -1;
        if (choices.one_in(8)) column.buffers.emplace_back();
        if (choices.one_in(4)) column.lies = true, column.length = choices.odd_number();
        return column;
    }
    add_validity(slots.all, slots.offset, column, choices);
    // Before the offsets, since what is seen of these depends on the length.
    tell_lies(column, choices);
    const bool is_seen = column.length >= 0 && column.offset >= 0 &&
                         column.offset + static_cast<uint64_t>(column.length) <= slots.all.size();
    size_t end = slots.all.size();
    if (is_seen) {
        end = static_cast<size_t>(column.offset) +
              (struct_end ? *struct_end : static_cast<size_t>(column.length));
        end = std::min(end, slots.all.size());
    }
    const bool is_binary = choices.one_in(2);
    const std::string format = kind == 0   ? (is_binary ? "z" : "u")
                               : kind == 1 ? (is_binary ? "Z" : "U")
                               : kind == 2 ? (is_binary ? "vz" : "vu")
                                           : "w:" + std::to_string(fixed_size);
    if (column.format.empty()) column.format = format;
    if (choices.one_in(8)) {
        const bool has_extension = choices.one_in(4);
        column.metadata = some_metadata(choices, has_extension);
        const bool is_text = kind != kFixedKind && !is_binary;
        column.lies = column.lies || (has_extension && !is_text);
    }
    if (kind == 0) add_offsets<int32_t>(slots.all, end, column, choices);
    if (kind == 1) add_offsets<int64_t>(slots.all, end, column, choices);
    if (kind == 2) add_views(slots.all, column, choices);
    if (kind == kFixedKind) add_fixed(slots.all, fixed_size, column);
    if (column.lies && choices.one_in(8)) column.buffers[1].reset();
    return column;
}

template <typename Index>
void add_indices(const std::vector<size_t>& numbers, Column& column, Choices& choices) {
    Buffer indices(numbers.size() * sizeof(Index));
    for (size_t i = 0; i < numbers.size(); ++i) indices.set(i, static_cast<Index>(numbers[i]));
    if (choices.one_in(6) && !numbers.empty()) {
        column.lies = true;
        indices.set(choices.below(numbers.size()), static_cast<Index>(choices.odd_number()));
    }
    column.buffers.push_back(std::move(indices));
}

Column some_encoded_column(Choices& choices, size_t least_length) {
    const size_t kind = choices.below(5);
    Column values = some_column(choices, kind == 4 ? kFixedKind : kind, 1, std::nullopt);
    Column column;
    const SlotTexts slots = some_slots(choices, least_length);
    std::vector<size_t> numbers;
    for (size_t i = 0; i < slots.all.size(); ++i) {
        numbers.push_back(choices.below(values.texts.size()));
        if (i < slots.offset) continue;
        column.texts.emplace_back();
        if (slots.all[i]) column.texts.back() = values.texts[numbers.back()];
    }
    column.length = static_cast<int64_t>(slots.length);
    column.offset = static_cast<int64_t>(slots.offset);
    add_validity(slots.all, slots.offset, column, choices);
    const size_t index = choices.below(8);
    column.format = std::string(1, "cCsSiIlL"[index]);
    if (index < 2) add_indices<uint8_t>(numbers, column, choices);
    if (index == 2 || index == 3) add_indices<uint16_t>(numbers, column, choices);
    if (index == 4 || index == 5) add_indices<uint32_t>(numbers, column, choices);
    if (index > 5) add_indices<uint64_t>(numbers, column, choices);
    column.lies = column.lies || values.lies;
    column.dictionary = std::make_unique<Column>(std::move(values));
    tell_lies(column, choices);
    return column;
}

struct Shape {
    bool is_struct;
    size_t kind;  // of the texts; 4: of a dictionary
};

Column some_array(Choices& choices, const Shape& shape) {
    if (!shape.is_struct)
        return shape.kind == 4 ? some_encoded_column(choices, 0)
                               : some_column(choices, shape.kind, 0, std::nullopt);
    Column column;
    const SlotTexts slots = some_slots(choices, 0);
    column.format = "+s";
    column.length = static_cast<int64_t>(slots.length);
    column.offset = static_cast<int64_t>(slots.offset);
    add_validity(slots.all, slots.offset, column, choices);
    tell_lies(column, choices);
    const bool is_seen = column.length >= 0 && column.offset >= 0 &&
                         column.offset + static_cast<uint64_t>(column.length) <= slots.all.size();
    const size_t end =
        is_seen ? static_cast<size_t>(column.offset + column.length) : slots.all.size();
    column.children.push_back(some_column(choices, 0, 0, std::nullopt));
    column.children[0].name = "other";
    column.children[0].lies = false;
    column.children.push_back(shape.kind == 4
                                  ? some_encoded_column(choices, slots.all.size())
                                  : some_column(choices, shape.kind, slots.all.size(), end));
    Column& child = column.children[1];
    child.name = "text";
    column.lies = column.lies || child.lies || column.children[0].has_no_format ||
                  column.children[0].schema_is_released;
    for (size_t i = slots.offset; i < slots.all.size(); ++i) {
        column.texts.emplace_back();
        if (slots.all[i]) column.texts.back() = child.texts[i];
    }
    if (choices.one_in(16)) column.schema_child_count = choices.odd_number();
    if (column.schema_child_count > 2) column.schema_child_count = 1;
    if (column.schema_child_count) column.lies = column.lies || column.schema_child_count != 2;
    return column;
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

Stream& stream_of(ArrowArrayStream* stream) { return *static_cast<Stream*>(stream->private_data); }

int get_schema(ArrowArrayStream* stream, ArrowSchema* schema) {
    Stream& content = stream_of(stream);
    if (!content.has_schema) {
        std::memset(schema, 0xee, sizeof *schema);
        return 5;
    }
    make_schema(content.columns->front(), &content.schemas, *schema);
    return 0;
}

int get_next(ArrowArrayStream* stream, ArrowArray* array) {
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

const char* get_last_error(ArrowArrayStream* stream) { return stream_of(stream).message; }

void release_stream(ArrowArrayStream* stream) {
    ++stream_of(stream).released;
    stream->release = nullptr;
}

// Out

void check_rows(const ArrowArray& array, ListType type, size_t dims, const Texts& texts,
                size_t begin) {
    require(array.n_children == 1 && array.offset == 0);
    const auto count = static_cast<size_t>(array.length);
    require(begin + count <= texts.size());
    const ArrowArray& child = *array.children[0];
    require(child.length == static_cast<int64_t>(count * dims));
    const auto* numbers = static_cast<const float*>(child.buffers[1]);
    const auto* validity = static_cast<const uint8_t*>(array.buffers[0]);
    int64_t nulls = 0;
    for (size_t i = 0; i < count; ++i) {
        const bool is_null = validity != nullptr && (validity[i / 8] >> i % 8 & 1) == 0;
        nulls += is_null;
        require(is_null == !texts[begin + i]);
        for (size_t k = 0; k < dims; ++k) {
            const float number = numbers[i * dims + k];
            require(is_null ? std::isnan(number) : number == static_cast<float>(begin + i));
        }
        if (type == ListType::list) {
            const auto* offsets = static_cast<const int32_t*>(array.buffers[1]);
            require(offsets[i] == static_cast<int32_t>(i * dims));
            require(offsets[i + 1] == static_cast<int32_t>((i + 1) * dims));
        }
    }
    require(array.null_count == nulls);
}

void check_export(std::vector<std::shared_ptr<const VectorRows>> parts, const Texts& texts,
                  size_t dims, Choices& choices) {
    const ListType type = choices.one_in(2) ? ListType::list : ListType::fixed;
    ArrowArrayStream made{};
    export_stream(parts, dims, type, choices.below(64) + 1, made);
    const auto joined = std::make_shared<const VectorRows>(parts, dims);
    const auto whole = std::make_shared<const VectorRows>(  // as it is pickled
        joined->data(), joined->validity_bytes(), joined->count(), dims);
    parts.clear();
    Owned<ArrowArrayStream> stream(made);
    Owned<ArrowSchema> schema;
    require(stream->get_schema(&*stream, &*schema) == 0);
    require(schema->format == (type == ListType::list ? "+l" : "+w:" + std::to_string(dims)));
    std::vector<Owned<ArrowArray>> arrays;
    const size_t most = choices.below(8) == 7 ? choices.below(4) : texts.size() + 1;
    size_t begin = 0;
    while (arrays.size() < most) {
        Owned<ArrowArray> array;
        require(stream->get_next(&*stream, &*array) == 0);
        if (array.is_released()) {
            require(begin == texts.size());
            break;
        }
        check_rows(*array, type, dims, texts, begin);
        begin += static_cast<size_t>(array->length);
        arrays.push_back(std::move(array));
    }
    if (choices.one_in(2)) stream.reset();
    Owned<ArrowArray> child;
    if (!arrays.empty() && choices.one_in(2)) {  // a child outlives the rest
        child = Owned<ArrowArray>(*arrays.front()->children[0]);
        arrays.clear();
        const auto* numbers = static_cast<const float*>(child->buffers[1]);
        float sum = 0;
        for (int64_t i = 0; i < child->length; ++i) sum += numbers[i];
        require(std::isnan(sum) || sum >= 0);
    }
    ArrowArray array{};
    export_array(whole, type, array);
    const Owned<ArrowArray> owned(array);
    check_rows(*owned, type, dims, texts, 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Choices choices(data, size);
    const Shape shape{choices.one_in(3), choices.below(6)};
    const bool is_stream = choices.one_in(3);
    std::vector<Column> columns;
    const size_t column_count = is_stream ? choices.below(4) + 1 : 1;
    for (size_t i = 0; i < column_count; ++i) columns.push_back(some_array(choices, shape));
    if (shape.kind == 4)  // a schema tells the width of all indices
        for (Column& column : columns) {
            const Column& first = shape.is_struct ? columns[0].children[1] : columns[0];
            const Column& own = shape.is_struct ? column.children[1] : column;
            if (own.format != first.format || own.dictionary->format != first.dictionary->format)
                return 0;
        }
    for (const Column& column : columns) {
        // What the schema says of one must hold for all.
        const auto same = [](const Column& a, const Column& b) {
            return a.format == b.format && a.has_no_format == b.has_no_format;
        };
        if (!same(column, columns[0])) return 0;
        if (shape.is_struct && !same(column.children[1], columns[0].children[1])) return 0;
    }

    bool lies = false;
    bool is_utf8 = true;
    Texts texts;
    for (const Column& column : columns) {
        lies = lies || column.lies;
        texts.insert(texts.end(), column.texts.begin(), column.texts.end());
    }
    const Nulls nulls = choices.one_in(3) ? Nulls::empty : Nulls::keep;
    const size_t max_characters = choices.one_in(2) ? choices.below(16) : SIZE_MAX;
    const size_t dims = choices.below(5) + 1;
    std::optional<std::string> name;
    if (shape.is_struct != choices.one_in(64)) name = choices.one_in(64) ? "texts" : "text";
    lies = lies || name.has_value() != shape.is_struct || (name && *name != "text");

    Stream stream{&columns};
    Counts schemas, arrays;
    Interruption interruption([] { return false; });
    bool was_stream_given = false;
    bool is_taken = false;
    try {
        std::optional<TextReader> reader;
        std::optional<std::string_view> asked;
        if (name) asked = *name;
        if (is_stream) {
            if (choices.one_in(8)) stream.fails_at = choices.below(5);
            if (choices.one_in(32)) stream.has_schema = false;
            stream.leaves_rubbish = choices.one_in(2);
            if (choices.one_in(2)) stream.message = "no more";
            lies = lies || !stream.has_schema || stream.fails_at <= columns.size();
            ArrowArrayStream made{get_schema, get_next, get_last_error, release_stream, &stream};
            was_stream_given = true;
            reader.emplace(Owned<ArrowArrayStream>(made), asked, nulls);
        } else {
            ArrowSchema schema;
            ArrowArray array;
            make_schema(columns[0], &schemas, schema);
            make_array(columns[0], &arrays, array);
            Owned<ArrowSchema> owned_schema(schema);
            Owned<ArrowArray> owned_array(array);
            reader.emplace(std::move(owned_schema), std::move(owned_array), asked, nulls);
        }
        Texts taken;
        std::vector<std::shared_ptr<const VectorRows>> parts;
        while (const auto batch = reader->read(interruption)) {
            const size_t first = taken.size();
            require(batch->first_number() == first);
            auto rows = std::make_shared<VectorRows>(*batch, dims);
            for (size_t begin = 0; begin < batch->count();) {
                const size_t end = std::min(batch->count(), begin + choices.below(9) + 1);
                for (const TextView& view : batch->views(begin, end, max_characters)) {
                    std::string text(static_cast<const char*>(view.data), view.length);
                    require(nulls == Nulls::keep || !view.is_absent);
                    taken.emplace_back();
                    if (!view.is_absent) taken.back() = text;
                    if (!lies && !view.is_absent) {
                        const std::string whole = texts[taken.size() - 1].value_or("");
                        require(view.is_cut ? whole.starts_with(text) : whole == text);
                    }
                    try {
                        check_utf8(view, taken.size() - 1);
                    } catch (const InvalidText&) {
                        is_utf8 = false;
                    }
                }
                begin = end;
            }
            for (size_t i = first; i < taken.size(); ++i)
                std::fill_n(rows->data() + (i - first) * dims, dims, static_cast<float>(i));
            rows->blank_nulls();
            std::optional<size_t> first_null;
            for (size_t i = taken.size(); i-- > first;)
                if (!taken[i]) first_null = i - first;
            require(batch->next_null(0) == first_null);
            parts.push_back(std::move(rows));
        }
        is_taken = true;
        if (!lies) {
            require(taken.size() == texts.size());
            for (size_t i = 0; i < taken.size(); ++i)
                require(taken[i].has_value() == (texts[i].has_value() || nulls == Nulls::empty));
        }
        reader.reset();
        check_export(std::move(parts), taken, dims, choices);
    } catch (const InvalidText&) {
        is_utf8 = false;
    } catch (const NotTexts&) {
        require(lies);
    } catch (const ProducerFailed&) {
        require(lies);
    } catch (const std::invalid_argument&) {
        require(lies);
    } catch (const std::bad_alloc&) {
        require(lies);
    }
    require(is_taken || lies || !is_utf8);
    require(schemas.given == schemas.released && arrays.given == arrays.released);
    require(stream.schemas.given == stream.schemas.released);
    require(stream.arrays.given == stream.arrays.released);
    require(stream.released == (was_stream_given ? 1 : 0));
    return 0;
}
