#pragma once

#include <stddef.h>
#include <stdint.h>

#include <span>
#include <stdexcept>
#include <string_view>
#include <vector>

#include "encoder/call.hpp"
#include "kernel/kernel.hpp"
#include "tokenizer/tokenizer.hpp"

namespace nibblevec {

// A text in the storage of a Python str: code points of 1, 2 or 4 bytes. Borrowed.
struct TextView {
    const void* data;
    size_t length;  // code points
    uint8_t width;
    bool is_ascii;
    bool is_cut;  // the str goes on
};

// A text holds half of a surrogate pair, which is no character.
class LoneSurrogate : public std::invalid_argument {
  public:
    LoneSurrogate(size_t text, size_t position);
};

// The text as UTF-8: in place if it is ASCII, else in `buffer`. `number` is told on error.
std::string_view utf8_of(const TextView& text, size_t number, std::vector<uint8_t>& buffer);

// Texts are taken in blocks of so many, each by one thread.
inline constexpr size_t kBlockTexts = 64;

// What tokenising takes, about, to see how many threads are worth their start.
double tokenizing_nanoseconds(double characters);

double characters_of(std::span<const TextView> texts);

// The ids of texts: those of a block of texts end to end, block after block.
struct EncodedTexts {
    std::vector<std::vector<uint32_t>> blocks;
    std::vector<int64_t> offsets;  // where each text begins among all, and the end of the last
    size_t cut_texts;
};

// Returns early, with less than everything, when the interruption is requested. `first_number` is
// added to the number of a text in an error.
EncodedTexts encode_texts(const Tokenizer& tokenizer, const Kernel& kernel,
                          std::span<const TextView> texts, size_t first_number,
                          const Truncation& truncation, size_t threads, Interruption& interruption);

}  // namespace nibblevec
