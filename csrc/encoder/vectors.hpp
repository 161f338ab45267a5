#pragma once

#include <stddef.h>

#include <span>
#include <string_view>

#include "threads/call.hpp"
#include "encoder/pooling.hpp"
#include "encoder/texts.hpp"
#include "encoder/token_rules.hpp"
#include "kernel/kernel.hpp"
#include "tokenizer/tokenizer.hpp"

namespace nibblevec {

// What makes vectors out of texts. Borrowed. The tokenizer's ids are rows of the table, or become
// such by the rules.
struct VectorModel {
    const Tokenizer& tokenizer;
    const TokenRules* rules;  // or null
    const Kernel& kernel;
    const TableView& table;
    BagHead head;
    Truncation truncation;
    std::string_view prompt;  // before each text; UTF-8
};

// Writes one row of `head.dims` floats a text, that of no tokens for an absent one, end to end: a
// block of texts goes the whole way, from characters to rows, on one thread, then comes the next.
// Returns how many texts were cut by truncation; early, with the rest of the rows unwritten, when
// the interruption is requested. `first_number` is added to the number of a text in an error.
size_t encode_vectors(const VectorModel& model, std::span<const TextView> texts,
                      size_t first_number, size_t threads, Interruption& interruption, float* rows,
                      size_t piece_characters = kPieceCharacters);

}  // namespace nibblevec
