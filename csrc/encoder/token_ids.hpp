#pragma once

#include <stddef.h>
#include <stdint.h>

#include <cstdlib>
#include <memory>
#include <span>
#include <stdexcept>
#include <string_view>
#include <utility>
#include <vector>

#include "threads/call.hpp"
#include "kernel/kernel.hpp"
#include "tokenizer/tokenizer.hpp"

namespace nibblevec {

// A width of TextView that stands for UTF-8, which is yet to be checked.
inline constexpr uint8_t kUtf8 = 0;

// A text where it lies: code points of 1, 2 or 4 bytes, as in a Python str, or UTF-8. Borrowed.
struct TextView {
    const void* data;
    size_t length;  // code points, or bytes of UTF-8
    uint8_t width;
    bool is_ascii;   // known to be
    bool is_cut;     // the text goes on
    bool is_absent;  // there is none, not even an empty one
};

// A text holds what is no character: surrogates, or bytes that are not UTF-8. `advice` is of use to
// those whose texts these are.
class InvalidText : public std::invalid_argument {
  public:
    InvalidText(size_t text, const char* problem, size_t position, const char* advice = "");
    const char* problem;
    size_t position;
};

// Throws InvalidText unless it is UTF-8; `number` is told on error.
void check_utf8(const TextView& text, size_t number);

// The text of a str as UTF-8: in place if it is ASCII, else in `buffer`. Throws InvalidText;
// `number` is told on error.
std::string_view utf8_of(const TextView& text, size_t number, std::vector<uint8_t>& buffer);

// A longer text goes to the tokenizer in pieces: as UTF-8, at most 128 KB, each is still in the
// second-level cache when its words are read.
inline constexpr size_t kPieceCharacters = size_t{1} << 15;

// Appends the ids of a text behind its prompt to `scratch.ids`, or hands them on to `sink`, as
// Tokenizer::encode does. The text is read in place if there is no prompt and it is UTF-8 or ASCII.
// Ends early when the sink says so. Throws InvalidText; `number` is told on error.
Encoded encode_text(const Tokenizer& tokenizer, const Kernel& kernel, std::string_view prompt,
                    const TextView& text, size_t number, const Truncation& truncation,
                    Tokenizer::Scratch& scratch, IdSink& sink,
                    size_t piece_characters = kPieceCharacters);

// Texts are taken in blocks of so many, each by one thread.
inline constexpr size_t kBlockTexts = 64;

// What tokenising takes, about, to see how many threads are worth their start.
double tokenizing_nanoseconds(double characters);

double characters_of(std::span<const TextView> texts);

// Ids that may become many. Large memory grows in place where the system can do that; a vector
// would copy them again and again, each time into pages that nobody touched before.
class IdArray {
  public:
    struct Free {
        void operator()(uint32_t* ids) const { std::free(ids); }
    };
    using Memory = std::unique_ptr<uint32_t[], Free>;

    void append(std::span<const uint32_t> ids);
    std::span<const uint32_t> ids() const { return {ids_.get(), count_}; }
    // Gives the memory away, no more than the ids need; nothing is left here.
    Memory release();

  private:
    void resize(size_t capacity);

    Memory ids_;
    size_t count_ = 0;
    size_t capacity_ = 0;
};

// The ids of texts: those of a block of texts end to end, block after block.
struct EncodedTexts {
    std::vector<IdArray> blocks;
    std::vector<int64_t> offsets;  // where each text begins among all, and the end of the last
    size_t cut_texts;
};

// Returns early, with less than everything, when the interruption is requested. `first_number` is
// added to the number of a text in an error.
EncodedTexts encode_texts(const Tokenizer& tokenizer, const Kernel& kernel,
                          std::span<const TextView> texts, size_t first_number,
                          const Truncation& truncation, size_t threads, Interruption& interruption,
                          size_t piece_characters = kPieceCharacters);

}  // namespace nibblevec
