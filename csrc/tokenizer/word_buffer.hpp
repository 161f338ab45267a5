#pragma once

#include <stddef.h>
#include <stdint.h>

#include <span>
#include <vector>

namespace nibblevec {

// A word of a piece of text: `byte_count` bytes of WordBuffer::bytes.
struct WordSpan {
    uint32_t begin;
    uint32_t byte_count;
};

// Words on their way from the pre-tokenizer to the model. One a thread; reused from text to text.
struct WordBuffer {
    // A word of one byte may be stored as eight bytes, and is loaded as sixteen.
    static constexpr size_t kSlackBytes = 64;

    std::span<const WordSpan> words() const { return {spans.data(), span_count}; }

    std::vector<uint8_t> bytes;  // normalised UTF-8
    std::vector<WordSpan> spans;
    size_t span_count = 0;
};

}  // namespace nibblevec
