#pragma once
// Columns of texts that a producer of the Arrow C interface may have: some tell the truth, some lie
// where it can be seen.

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "choices.hpp"

namespace nibblevec::fuzz {

// Memory of its own for each buffer, without a byte to spare.
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

    // Said in place of the truth.
    std::optional<int64_t> buffer_count, child_count, schema_child_count;
    bool has_no_format = false, has_no_buffers = false, has_no_children = false,
         has_no_dictionary = false, schema_is_released = false, array_is_released = false;
};

inline std::string some_text(Choices& choices) {
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

inline SlotTexts some_slots(Choices& choices, size_t least_length) {
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

inline void add_validity(const Texts& all, size_t offset, Column& column, Choices& choices) {
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
inline void add_offsets(const Texts& all, size_t end, Column& column, Choices& choices) {
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
    Buffer buffer(offsets.size() * sizeof(Offset));
    for (size_t i = 0; i < offsets.size(); ++i) buffer.set(i, offsets[i]);
    column.buffers.push_back(std::move(buffer));
    Buffer data(bytes.size());
    std::ranges::copy(bytes, data.bytes.get());
    column.buffers.push_back(std::move(data));
}

inline void add_views(const Texts& all, Column& column, Choices& choices) {
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

inline void tell_lies(Column& column, Choices& choices) {
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
inline Buffer some_metadata(Choices& choices, bool has_extension) {
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

inline constexpr size_t kFixedLayout = 5;

// Texts of one size each; those that are null have bytes as well.
inline void add_fixed(const Texts& all, size_t size, Column& column) {
    Buffer texts(all.size() * size);
    for (size_t i = 0; i < all.size(); ++i)
        std::ranges::copy(all[i].value_or(std::string(size, '\xff')), texts.bytes.get() + i * size);
    column.buffers.push_back(std::move(texts));
}

// `structs` use the slots of a child up to this one.
inline Column some_column(Choices& choices, size_t layout, size_t least_length,
                          std::optional<size_t> struct_end) {
    Column column;
    SlotTexts slots = some_slots(choices, least_length);
    const size_t fixed_size = std::array{1, 4, 13}[choices.below(3)];
    if (layout == kFixedLayout)
        for (auto& text : slots.all)
            if (text) text->resize(fixed_size, '.');
    column.texts = {slots.all.begin() + static_cast<ptrdiff_t>(slots.offset), slots.all.end()};
    column.length = static_cast<int64_t>(slots.length);
    column.offset = static_cast<int64_t>(slots.offset);
    if (layout == 3) {  // all nulls
        column.format = "n";
        column.texts.assign(slots.length, std::nullopt);
        column.null_count = choices.one_in(2) ? column.length : -1;
        if (choices.one_in(8)) column.buffers.emplace_back();
        if (choices.one_in(4)) column.lies = true, column.length = choices.odd_number();
        return column;
    }
    add_validity(slots.all, slots.offset, column, choices);
    // Before the offsets: the length says which of these are seen.
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
    const std::string format = layout == 0   ? (is_binary ? "z" : "u")
                               : layout == 1 ? (is_binary ? "Z" : "U")
                               : layout == 2 ? (is_binary ? "vz" : "vu")
                                             : "w:" + std::to_string(fixed_size);
    if (column.format.empty()) column.format = format;
    if (choices.one_in(8)) {
        const bool has_extension = choices.one_in(4);
        column.metadata = some_metadata(choices, has_extension);
        const bool is_text = layout != kFixedLayout && !is_binary;
        column.lies = column.lies || (has_extension && !is_text);
    }
    if (layout == 0) add_offsets<int32_t>(slots.all, end, column, choices);
    if (layout == 1) add_offsets<int64_t>(slots.all, end, column, choices);
    if (layout == 2) add_views(slots.all, column, choices);
    if (layout == kFixedLayout) add_fixed(slots.all, fixed_size, column);
    if (column.lies && choices.one_in(8)) column.buffers[1].reset();
    return column;
}

template <typename Index>
inline void add_indices(const std::vector<size_t>& entries, Column& column, Choices& choices) {
    Buffer indices(entries.size() * sizeof(Index));
    for (size_t i = 0; i < entries.size(); ++i) indices.set(i, static_cast<Index>(entries[i]));
    if (choices.one_in(6) && !entries.empty()) {
        column.lies = true;
        indices.set(choices.below(entries.size()), static_cast<Index>(choices.odd_number()));
    }
    column.buffers.push_back(std::move(indices));
}

inline Column some_encoded_column(Choices& choices, size_t least_length) {
    const size_t layout = choices.below(5);
    Column values = some_column(choices, layout == 4 ? kFixedLayout : layout, 1, std::nullopt);
    Column column;
    const SlotTexts slots = some_slots(choices, least_length);
    std::vector<size_t> entries;
    for (size_t i = 0; i < slots.all.size(); ++i) {
        entries.push_back(choices.below(values.texts.size()));
        if (i < slots.offset) continue;
        column.texts.emplace_back();
        if (slots.all[i]) column.texts.back() = values.texts[entries.back()];
    }
    column.length = static_cast<int64_t>(slots.length);
    column.offset = static_cast<int64_t>(slots.offset);
    add_validity(slots.all, slots.offset, column, choices);
    const size_t index = choices.below(8);
    column.format = std::string(1, "cCsSiIlL"[index]);
    if (index < 2) add_indices<uint8_t>(entries, column, choices);
    if (index == 2 || index == 3) add_indices<uint16_t>(entries, column, choices);
    if (index == 4 || index == 5) add_indices<uint32_t>(entries, column, choices);
    if (index > 5) add_indices<uint64_t>(entries, column, choices);
    column.lies = column.lies || values.lies;
    column.dictionary = std::make_unique<Column>(std::move(values));
    tell_lies(column, choices);
    return column;
}

struct Shape {
    bool is_struct;
    size_t layout;  // of the texts; 4: a dictionary
};

inline Column some_array(Choices& choices, const Shape& shape) {
    if (!shape.is_struct)
        return shape.layout == 4 ? some_encoded_column(choices, 0)
                                 : some_column(choices, shape.layout, 0, std::nullopt);
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
    column.children.push_back(shape.layout == 4
                                  ? some_encoded_column(choices, slots.all.size())
                                  : some_column(choices, shape.layout, slots.all.size(), end));
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

}  // namespace nibblevec::fuzz
