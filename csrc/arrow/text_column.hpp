#pragma once

#include <stddef.h>
#include <stdint.h>

#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

#include "arrow/c_data.hpp"

namespace nibblevec {

// A producer gives other things than texts. Where it breaks the rules of the interface,
// std::invalid_argument is thrown instead.
class NotTexts : public std::runtime_error {
    using std::runtime_error::runtime_error;
};

// How an array keeps its texts. Strings and binary, which may hold other bytes than UTF-8, are kept
// alike, and checked alike.
struct TextType {
    enum class Layout : uint8_t { null, utf8, large_utf8, utf8_view, fixed_size };

    Layout layout;
    size_t text_bytes = 0;    // of each text, where these have a fixed size
    uint8_t index_width = 0;  // bytes of an index into a dictionary; 0: no dictionary
    bool index_is_signed = false;
};

// Where a producer's texts are: in its arrays, or in a child of its structs.
struct TextColumn {
    TextType type;
    std::optional<size_t> child;  // its number
    size_t child_count;
};

// The column of this name; without a name the schema is that of the texts themselves. Throws
// NotTexts; std::invalid_argument also where there is no such column.
TextColumn find_text_column(const ArrowSchema& schema, std::optional<std::string_view> name);

// `what` of a producer breaks the rules of the interface.
[[noreturn]] inline void throw_malformed(const std::string& what, const std::string& problem) {
    throw std::invalid_argument(what + ": " + problem);
}

}  // namespace nibblevec
