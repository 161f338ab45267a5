#pragma once

#include <stddef.h>
#include <stdint.h>

#include <limits>
#include <span>
#include <vector>

#include "tokenizer/pulse.hpp"

namespace nibblevec {

// The ids of a text, in a buffer that is reused from text to text.
struct IdBuffer {
    std::vector<uint32_t> ids;
    size_t count = 0;

    // Makes room for `more` ids.
    void reserve(size_t more) {
        if (count + more > ids.size()) ids.resize(2 * (count + more));
    }
};

// Takes the ids of long texts in pieces.
class IdSink : public Caller {
  public:
    // Returns whether to go on.
    virtual bool take(std::span<const uint32_t> ids) = 0;
};

struct Encoded {
    size_t id_count;
    bool is_cut;  // by truncation
};

// The number of ids of a text that are kept, and from which end.
struct Truncation {
    static constexpr size_t kUnlimited = std::numeric_limits<size_t>::max();

    size_t max_length = kUnlimited;
    bool keep_end = false;
};

}  // namespace nibblevec
