#pragma once

#include <stddef.h>
#include <stdint.h>

namespace nibblevec {

// How the characters of a text are kept: as UTF-8, which ASCII is too, or as code points of 1, 2
// or 4 bytes, as in a Python str that is not ASCII.
enum class TextEncoding : uint8_t { utf8, unchecked_utf8, ucs1, ucs2, ucs4 };

// A text in the memory of its owner, who must keep it as long as the view lives.
struct TextView {
    const void* data;
    size_t length;  // code points, or bytes of UTF-8
    TextEncoding encoding;
    bool is_cut;     // the text goes on
    bool is_absent;  // there is none, not even an empty one

    bool is_utf8() const { return encoding <= TextEncoding::unchecked_utf8; }
};

}  // namespace nibblevec
