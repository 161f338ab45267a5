#pragma once

#include <stddef.h>
#include <stdint.h>

#include <span>
#include <string_view>
#include <vector>

#include "encoder/id_array.hpp"
#include "text/pieces.hpp"
#include "text/text_view.hpp"
#include "threads/call.hpp"
#include "tokenizer/tokenizer.hpp"

namespace nibblevec {

struct Kernel;

// Appends the ids of a text behind its prompt to `scratch.ids`, or hands them on to `sink`, as
// Tokenizer::encode does. The text is read in place if there is no prompt and it is UTF-8. Ends
// early when the sink says so. Throws InvalidText, which names the text by its `number`.
Encoded encode_text(const Tokenizer& tokenizer, const Kernel& kernel, std::string_view prompt,
                    const TextView& text, size_t number, const Truncation& truncation,
                    Tokenizer::Scratch& scratch, IdSink& sink,
                    size_t piece_characters = kPieceCharacters);

// Texts of a block, which one thread takes at a time.
inline constexpr size_t kBlockTexts = 64;

// About the time that tokenising takes, to see how many threads are worth their start.
double tokenizing_nanoseconds(double characters);

double characters_of(std::span<const TextView> texts);

// The ids of texts: those of a block of texts end to end, block after block.
struct EncodedTexts {
    std::vector<IdArray> blocks;
    std::vector<int64_t> offsets;  // where each text begins among all, and the end of the last
    size_t cut_texts;
};

// Returns early, with less than everything, when the interruption is requested. Texts are numbered
// from `first_number` in errors.
EncodedTexts encode_texts(const Tokenizer& tokenizer, const Kernel& kernel,
                          std::span<const TextView> texts, size_t first_number,
                          const Truncation& truncation, size_t threads, Interruption& interruption,
                          size_t piece_characters = kPieceCharacters);

}  // namespace nibblevec
