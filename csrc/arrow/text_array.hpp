#pragma once

#include <stddef.h>
#include <stdint.h>

#include <span>
#include <string_view>

#include "arrow/c_data.hpp"
#include "arrow/text_column.hpp"

namespace nibblevec {

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
    // The values that `structs`, whose child the array is, take up; without them all values. `what`
    // names the array in errors.
    TextValues(const TextType& type, const ArrowArray& array, const Slots* structs,
               const char* what);

    const Slots& slots() const { return slots_; }

    // Throws unless the text lies where it may; to be called for each text that is used. `what` and
    // `number` name it in errors.
    void check(size_t i, const char* what, size_t number) const;

    bool are_all_null() const { return type_.layout == TextType::Layout::null; }

    // The next three functions are for texts that are checked.
    bool may_hold_nulls() const { return are_all_null() || slots_.validity != nullptr; }
    bool is_null(size_t i) const { return are_all_null() || slots_.is_null(i); }
    std::string_view text(size_t i) const;  // of one that is not null; any bytes

    // An upper bound of the bytes of text that lie outside of the slots.
    size_t outside_bytes() const;

  private:
    int64_t offset_at(size_t i) const;

    TextType type_{TextType::Layout::null};  // without its dictionary
    Slots slots_;
    const uint8_t* fixed_ = nullptr;  // offsets or views, perhaps not aligned
    int64_t first_offset_ = 0, last_offset_ = 0;
    // Bytes that offsets lead into, checked for offsets between these two; or texts of a fixed
    // size.
    const char* data_ = nullptr;
    std::span<const void* const> view_buffers_;
    const uint8_t* view_buffer_sizes_ = nullptr;  // int64 each, perhaps not aligned
};

// The texts of an array of a column. Borrowed.
//
// All that the interface tells is checked. It gives no size of a buffer but of those that views
// lead into: an offset that is too large, or a validity bitmap that is too short, cannot be seen.
class TextArray {
  public:
    TextArray(const TextColumn& column, const ArrowArray& array);

    size_t count() const { return slots().count; }

    // Whether memory belongs to the length. An array of nulls may have any length.
    bool has_buffers() const { return is_encoded() || !values_.are_all_null(); }

    // To be called for all texts before they are read, if there are buffers. Texts are numbered
    // from `first_number` in errors. Each of many arrays may bring its dictionary along: only the
    // entries that are used are checked.
    void check(size_t begin, size_t end, size_t first_number) const;

    bool may_hold_nulls() const {
        return structs_.validity != nullptr || indices_.validity != nullptr ||
               values_.may_hold_nulls();
    }
    bool is_null(size_t i) const;
    std::string_view text(size_t i) const;  // of one that is not null; any bytes
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
