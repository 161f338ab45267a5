#pragma once

#include <stdint.h>

namespace nibblevec {

// The classes of 64 bytes of text, a bit each: ASCII letters and digits; ASCII punctuation; bytes
// that need a closer look (no ASCII, or control characters). The rest is space, tab and line ends.
struct WordMasks {
    uint64_t word;
    uint64_t punctuation;
    uint64_t other;
};

}  // namespace nibblevec
