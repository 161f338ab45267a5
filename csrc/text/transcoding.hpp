#pragma once

#include <stddef.h>
#include <stdint.h>

#include <stdexcept>
#include <string_view>
#include <vector>

#include "text/text_view.hpp"

namespace nibblevec {

// A text holds a surrogate, or bytes that are not UTF-8. `advice` helps those whose texts these
// are.
class InvalidText : public std::invalid_argument {
  public:
    InvalidText(size_t number, const char* problem, size_t position, const char* advice = "");
    const char* problem;
    size_t position;
};

// All of these throw InvalidText, which names the text by its `number` in the call.

// The text is UTF-8.
void check_utf8(const TextView& text, size_t number);
// `count` bytes from `begin` on are UTF-8.
void check_utf8(const TextView& text, size_t begin, size_t count, size_t number);

// The text behind its prompt as UTF-8, checked: in place if it is UTF-8 and there is no prompt,
// else in `buffer`.
std::string_view utf8_of(const TextView& text, size_t number, std::vector<uint8_t>& buffer,
                         std::string_view prompt = {});

// Puts `count` characters (bytes, if the text is UTF-8) from `begin` on, unchecked, behind the
// first `used` bytes of `buffer`; returns the number of bytes used then.
size_t append_utf8(const TextView& text, size_t begin, size_t count, size_t number, size_t used,
                   std::vector<uint8_t>& buffer);

}  // namespace nibblevec
