#pragma once

#include <stddef.h>
#include <stdint.h>

#include <optional>
#include <span>
#include <stdexcept>
#include <string_view>

#include "arrow/c_data.hpp"

namespace nibblevec {

// What a producer gives is sound as far as can be seen, but no texts. Where it is not sound,
// std::invalid_argument is thrown.
class NotTexts : public std::runtime_error {
    using std::runtime_error::runtime_error;
};

// How an array keeps its texts. Bytes that are said to be UTF-8 (string) and such that are not
// (binary) are kept alike, and checked alike.
struct TextType {
    enum class Layout : uint8_t { null, utf8, large_utf8, utf8_view, fixed_size };

    Layout layout;
    size_t text_bytes = 0;    // of each text, where these have a fixed size
    uint8_t index_width = 0;  // bytes of an index into a dictionary; 0: there is none
    bool index_is_signed = false;
};

// Where the texts are in what a producer gives: in a child of its structs, or there itself.
struct TextColumn {
    TextType type;
    std::optional<size_t> child;
    size_t child_count;
};

// The column of this name; without a name the schema is that of the texts themselves. Throws
// NotTexts, and std::invalid_argument where there is no such column, too.
TextColumn find_text_column(const ArrowSchema& schema, std::optional<std::string_view> name);

// A range of the slots of an array, and which of them are null. Borrowed.
struct Slots {
    const uint8_t* validity = nullptr;  // a bit a slot of the array; null: all are valid
    size_t begin = 0;
    size_t count = 0;

    bool is_null(size_t i) const {
        const size_t slot = begin + i;
        return validity != nullptr && (validity[slot / 8] >> slot % 8 & 1) == 0;
    }
};

// Texts that lie in the buffers of an array. Borrowed.
class TextValues {
  public:
    TextValues() = default;
    // Those that `structs` take up, whose child the array is, or all. `what` names it in errors.
    TextValues(const TextType& type, const ArrowArray& array, const Slots* structs,
               const char* what);

    const Slots& slots() const { return slots_; }

    // Throws unless the text lies where it may; to be called for what is used. `what` and `number`
    // name it in errors.
    void check(size_t i, const char* what, size_t number) const;

    bool are_all_null() const { return type_.layout == TextType::Layout::null; }

    // Of what is checked.
    bool may_hold_nulls() const { return are_all_null() || slots_.validity != nullptr; }
    bool is_null(size_t i) const { return are_all_null() || slots_.is_null(i); }
    std::string_view text(size_t i) const;  // of what is not null; any bytes

    // At most so many bytes of text lie outside of the slots.
    size_t outside_bytes() const;

  private:
    int64_t offset_at(size_t i) const;

    TextType type_{TextType::Layout::null};  // without its dictionary
    Slots slots_;
    const uint8_t* fixed_ = nullptr;  // offsets or views, perhaps not aligned
    int64_t first_offset_ = 0, last_offset_ = 0;
    // What offsets lead into, checked for those between these; or texts of a fixed size.
    const char* data_ = nullptr;
    std::span<const void* const> view_buffers_;
    const uint8_t* view_buffer_sizes_ = nullptr;  // int64 each, perhaps not aligned
};

// The texts of an array of a column. Borrowed.
//
// All is checked that the interface tells: it gives the sizes of no buffers but those that views
// lead into. An offset that is too large, or a validity bitmap that is too short, cannot be seen.
class TextArray {
  public:
    TextArray(const TextColumn& column, const ArrowArray& array);

    size_t count() const { return slots().count; }

    // Whether there is anything but a length, which may be any, that leads to no memory.
    bool has_buffers() const { return is_encoded() || !values_.are_all_null(); }

    // To be called for all before anything else, if there are buffers. Texts are numbered from
    // `first_number` in errors. Of a dictionary, which each of many arrays may bring along, only
    // what is used is looked at.
    void check(size_t begin, size_t end, size_t first_number) const;

    bool may_hold_nulls() const {
        return structs_.validity != nullptr || indices_.validity != nullptr ||
               values_.may_hold_nulls();
    }
    bool is_null(size_t i) const;
    std::string_view text(size_t i) const;  // of what is not null; any bytes
    size_t outside_bytes() const { return values_.outside_bytes(); }

  private:
    bool is_encoded() const { return type_.index_width != 0; }
    const Slots& slots() const { return is_encoded() ? indices_ : values_.slots(); }
    uint64_t index_at(size_t i) const;  // a negative one is beyond any dictionary

    TextType type_;
    Slots structs_;  // of the array that the column is a child of
    Slots indices_;
    const uint8_t* index_bytes_ = nullptr;  // perhaps not aligned
    TextValues values_;
};

}  // namespace nibblevec
