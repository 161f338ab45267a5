#include "arrow/text_array.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <string>
#include <type_traits>

namespace nibblevec {

namespace {

using Layout = TextType::Layout;

// No buffer is larger than all the addresses that a process can have.
constexpr uint64_t kMaxBufferBytes =
    std::min(uint64_t{1} << 57, uint64_t{std::numeric_limits<ptrdiff_t>::max()});

// A view: length, then the text itself if it is short, else its beginning, the number of a buffer
// and an offset there.
constexpr size_t kViewBytes = 16;
constexpr int32_t kMaxInlineBytes = 12;

// An element of a buffer, which need not be aligned.
template <typename Element>
Element read(const uint8_t* buffer, size_t i) {
    Element element;
    std::memcpy(&element, buffer + i * sizeof element, sizeof element);
    return element;
}

// Throws unless `count` elements of `width` bytes may lie there.
void check_buffer(const void* buffer, uint64_t count, uint64_t width, const char* what,
                  const char* name) {
    if (count == 0) return;
    if (buffer == nullptr) throw_malformed(what, std::string("its ") + name + " are missing");
    const auto address = reinterpret_cast<uintptr_t>(buffer);
    const uint64_t most =
        std::min<uint64_t>(kMaxBufferBytes, std::numeric_limits<uintptr_t>::max() - address);
    if (count > most / width)
        throw_malformed(what,
                        std::to_string(count) + " " + name + " are more than there are addresses");
}

size_t count_nulls(const Slots& slots) {
    if (slots.validity == nullptr) return 0;
    size_t valid = 0;
    size_t i = 0;
    const auto count_singly = [&](size_t end) {
        for (; i < end; ++i) valid += !slots.is_null(i);
    };
    count_singly(std::min(slots.count, (8 - slots.begin % 8) % 8));
    const uint8_t* bytes = slots.validity + (slots.begin + i) / 8;
    for (; slots.count - i >= 64; i += 64, bytes += 8)
        valid += static_cast<size_t>(std::popcount(read<uint64_t>(bytes, 0)));
    count_singly(slots.count);
    return slots.count - valid;
}

// The slots of an array whose first buffer, if there is one, tells which of them are null.
Slots checked_slots(const ArrowArray& array, const char* what, int64_t least_buffers,
                    int64_t most_buffers) {
    if (array.release == nullptr) throw_malformed(what, "it is released");
    if (array.length < 0) throw_malformed(what, "its length is " + std::to_string(array.length));
    if (array.offset < 0) throw_malformed(what, "its offset is " + std::to_string(array.offset));
    // From here on neither the sum nor one more overflows.
    const auto begin = static_cast<uint64_t>(array.offset);
    const auto count = static_cast<uint64_t>(array.length);
    if (begin > kMaxBufferBytes || count > kMaxBufferBytes - begin)
        throw_malformed(what, "its offset is " + std::to_string(begin) + ", its length " +
                                  std::to_string(count));
    if (array.n_buffers < least_buffers || array.n_buffers > most_buffers)
        throw_malformed(what, "it has " + std::to_string(array.n_buffers) + " buffers");
    if (array.n_buffers > 0 && array.buffers == nullptr)
        throw_malformed(what, "its buffers are missing");
    if (array.null_count < -1 || array.null_count > array.length)
        throw_malformed(what, "its null_count is " + std::to_string(array.null_count) +
                                  ", its length " + std::to_string(count));
    Slots slots{nullptr, static_cast<size_t>(begin), static_cast<size_t>(count)};
    if (least_buffers > 0) slots.validity = static_cast<const uint8_t*>(array.buffers[0]);
    return slots;
}

// To be called when the other buffers are known to have room for these slots: all of the bitmap is
// read.
void check_null_count(const ArrowArray& array, const Slots& slots, const char* what) {
    const size_t nulls = count_nulls(slots);
    if (array.null_count >= 0 && static_cast<size_t>(array.null_count) != nulls)
        throw_malformed(what, "its null_count is " + std::to_string(array.null_count) + ", but " +
                                  std::to_string(nulls) + " are null");
}

// The slots of a child that its structs take up.
Slots narrowed(const Slots& slots, const Slots* structs, const char* what) {
    if (structs == nullptr) return slots;
    const size_t end = structs->begin + structs->count;
    if (end > slots.count)
        throw_malformed(what, "its length is " + std::to_string(slots.count) +
                                  ", that of its structs " + std::to_string(end));
    return {slots.validity, slots.begin + structs->begin, structs->count};
}

const ArrowArray& checked_child(const ArrowArray& array, const TextColumn& column) {
    const char* what = "Arrow struct";
    if (array.n_children < 0 || static_cast<uint64_t>(array.n_children) != column.child_count)
        throw_malformed(what, "it has " + std::to_string(array.n_children) +
                                  " children, its schema " + std::to_string(column.child_count));
    if (array.children == nullptr || array.children[*column.child] == nullptr)
        throw_malformed(what, "its child is missing");
    return *array.children[*column.child];
}

}  // namespace

TextValues::TextValues(const TextType& type, const ArrowArray& array, const Slots* structs,
                       const char* what)
    : type_{type.layout, type.text_bytes} {
    const Layout layout = type.layout;
    if (layout == Layout::null) {
        slots_ = narrowed(checked_slots(array, what, 0, 1), structs, what);  // 1: of old producers
        return;
    }
    if (layout == Layout::fixed_size) {
        const Slots all = checked_slots(array, what, 2, 2);
        slots_ = narrowed(all, structs, what);
        data_ = static_cast<const char*>(array.buffers[1]);
        if (all.count > 0)
            check_buffer(data_, all.begin + all.count, type.text_bytes, what, "texts");
        check_null_count(array, all, what);
        return;
    }
    const bool has_views = layout == Layout::utf8_view;
    // Behind the views come buffers of text, any number, and last the sizes of these.
    constexpr int64_t kMaxViewBuffers = std::numeric_limits<int32_t>::max();
    const Slots all = checked_slots(array, what, 3, has_views ? 3 + kMaxViewBuffers : 3);
    slots_ = narrowed(all, structs, what);
    fixed_ = static_cast<const uint8_t*>(array.buffers[1]);
    const size_t end = all.begin + all.count;
    if (has_views) {
        if (all.count > 0) check_buffer(fixed_, end, kViewBytes, what, "views");
        check_null_count(array, all, what);
        view_buffers_ = {array.buffers + 2, static_cast<size_t>(array.n_buffers - 3)};
        const void* sizes = array.buffers[array.n_buffers - 1];
        check_buffer(sizes, view_buffers_.size(), sizeof(int64_t), what, "sizes of buffers");
        view_buffer_sizes_ = static_cast<const uint8_t*>(sizes);
        for (size_t i = 0; i < view_buffers_.size(); ++i) {
            const auto size = read<int64_t>(view_buffer_sizes_, i);
            if (size < 0) throw_malformed(what, "a buffer of " + std::to_string(size) + " bytes");
            check_buffer(view_buffers_[i], static_cast<uint64_t>(size), 1, what, "bytes");
        }
        return;
    }
    data_ = static_cast<const char*>(array.buffers[2]);
    if (all.count == 0) return;  // there may be no offset at all
    check_buffer(fixed_, end + 1, layout == Layout::utf8 ? sizeof(int32_t) : sizeof(int64_t), what,
                 "offsets");
    check_null_count(array, all, what);
    first_offset_ = offset_at(0);
    last_offset_ = offset_at(slots_.count);
    if (first_offset_ < 0)
        throw_malformed(what, "its first offset is " + std::to_string(first_offset_));
    if (last_offset_ > first_offset_)
        check_buffer(data_, static_cast<uint64_t>(last_offset_), 1, what, "bytes");
}

int64_t TextValues::offset_at(size_t i) const {
    const size_t slot = slots_.begin + i;
    return type_.layout == Layout::utf8 ? read<int32_t>(fixed_, slot) : read<int64_t>(fixed_, slot);
}

void TextValues::check(size_t i, const char* what, size_t number) const {
    const auto fail_here = [&](const std::string& problem) {
        throw_malformed(std::string(what) + " " + std::to_string(number), problem);
    };
    switch (type_.layout) {
        case Layout::null:
        case Layout::fixed_size:
            return;
        case Layout::utf8:
        case Layout::large_utf8: {  // even of one that is null
            const int64_t begin = offset_at(i);
            const int64_t end = offset_at(i + 1);
            if (begin < first_offset_ || end < begin || end > last_offset_)
                fail_here("its offsets are " + std::to_string(begin) + " and " +
                          std::to_string(end) + ", the first of all is " +
                          std::to_string(first_offset_) + ", the last " +
                          std::to_string(last_offset_));
            return;
        }
        case Layout::utf8_view:
            break;
    }
    if (slots_.is_null(i)) return;
    const uint8_t* view = fixed_ + (slots_.begin + i) * kViewBytes;
    const auto length = read<int32_t>(view, 0);
    if (length < 0) fail_here("its length is " + std::to_string(length));
    if (length <= kMaxInlineBytes) return;
    const auto buffer = read<int32_t>(view, 2);
    const auto offset = read<int32_t>(view, 3);
    if (buffer < 0 || static_cast<size_t>(buffer) >= view_buffers_.size())
        fail_here("it lies in buffer " + std::to_string(buffer) + " of " +
                  std::to_string(view_buffers_.size()));
    const auto size = read<int64_t>(view_buffer_sizes_, static_cast<size_t>(buffer));
    if (offset < 0 || int64_t{offset} + length > size)
        fail_here(std::to_string(length) + " bytes at " + std::to_string(offset) +
                  " of a buffer of " + std::to_string(size));
}

std::string_view TextValues::text(size_t i) const {
    if (type_.layout == Layout::fixed_size) {
        const size_t size = type_.text_bytes;
        return {data_ + (slots_.begin + i) * size, size};
    }
    if (type_.layout != Layout::utf8_view) {
        const int64_t begin = offset_at(i);
        const auto length = static_cast<size_t>(offset_at(i + 1) - begin);
        // Without any text there may be no bytes either, and nothing to point to.
        return length == 0 ? std::string_view() : std::string_view(data_ + begin, length);
    }
    const uint8_t* view = fixed_ + (slots_.begin + i) * kViewBytes;
    const auto length = read<int32_t>(view, 0);
    const char* bytes = reinterpret_cast<const char*>(view) + sizeof length;
    if (length > kMaxInlineBytes)
        bytes =
            static_cast<const char*>(view_buffers_[static_cast<size_t>(read<int32_t>(view, 2))]) +
            read<int32_t>(view, 3);
    return {bytes, static_cast<size_t>(length)};
}

size_t TextValues::outside_bytes() const {
    if (type_.layout == Layout::fixed_size) return slots_.count * type_.text_bytes;
    if (type_.layout != Layout::utf8_view)
        return static_cast<size_t>(std::max<int64_t>(0, last_offset_ - first_offset_));
    uint64_t bytes = 0;
    for (size_t i = 0; i < view_buffers_.size(); ++i)
        bytes += static_cast<uint64_t>(read<int64_t>(view_buffer_sizes_, i));
    return static_cast<size_t>(bytes);
}

TextArray::TextArray(const TextColumn& column, const ArrowArray& array) : type_(column.type) {
    const ArrowArray* texts = &array;
    const Slots* structs = nullptr;
    if (column.child) {
        structs_ = checked_slots(array, "Arrow struct", 1, 1);
        structs = &structs_;
        texts = &checked_child(array, column);
    }
    const char* what = "Arrow array";
    if (!is_encoded()) {
        values_ = TextValues(type_, *texts, structs, what);
        if (structs != nullptr) check_null_count(array, structs_, "Arrow struct");
        return;
    }
    const Slots all = checked_slots(*texts, what, 2, 2);
    indices_ = narrowed(all, structs, what);
    if (all.count > 0)
        check_buffer(texts->buffers[1], all.begin + all.count, type_.index_width, what, "indices");
    check_null_count(*texts, all, what);
    index_bytes_ = static_cast<const uint8_t*>(texts->buffers[1]);
    if (texts->dictionary == nullptr) throw_malformed(what, "its dictionary is missing");
    values_ = TextValues(type_, *texts->dictionary, nullptr, "Arrow dictionary");
    if (structs != nullptr) check_null_count(array, structs_, "Arrow struct");
}

void TextArray::check(size_t begin, size_t end, size_t first_number) const {
    for (size_t i = begin; i < end; ++i) {
        if (!is_encoded()) {
            values_.check(i, "text", first_number + i);
        } else if (!structs_.is_null(i) && !indices_.is_null(i)) {
            const uint64_t index = index_at(i);
            if (index >= values_.slots().count)
                throw_malformed(
                    "text " + std::to_string(first_number + i),
                    "its index is " +
                        (type_.index_is_signed ? std::to_string(static_cast<int64_t>(index))
                                               : std::to_string(index)) +
                        ", its dictionary has " + std::to_string(values_.slots().count));
            values_.check(static_cast<size_t>(index), "text of the dictionary",
                          static_cast<size_t>(index));
        }
    }
}

uint64_t TextArray::index_at(size_t i) const {
    const size_t slot = indices_.begin + i;
    const auto widened = [&]<typename Unsigned>(Unsigned index) {
        if (!type_.index_is_signed) return uint64_t{index};
        return static_cast<uint64_t>(int64_t{static_cast<std::make_signed_t<Unsigned>>(index)});
    };
    switch (type_.index_width) {
        case 1:
            return widened(read<uint8_t>(index_bytes_, slot));
        case 2:
            return widened(read<uint16_t>(index_bytes_, slot));
        case 4:
            return widened(read<uint32_t>(index_bytes_, slot));
        default:
            return widened(read<uint64_t>(index_bytes_, slot));
    }
}

bool TextArray::is_null(size_t i) const {
    if (structs_.is_null(i)) return true;
    if (!is_encoded()) return values_.is_null(i);
    return indices_.is_null(i) || values_.is_null(static_cast<size_t>(index_at(i)));
}

std::string_view TextArray::text(size_t i) const {
    return values_.text(is_encoded() ? static_cast<size_t>(index_at(i)) : i);
}

}  // namespace nibblevec
