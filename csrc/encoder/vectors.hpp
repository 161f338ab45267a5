#pragma once

#include <stddef.h>

#include <span>
#include <string_view>

#include "encoder/pooling.hpp"
#include "encoder/token_ids.hpp"
#include "encoder/token_rules.hpp"
#include "rows/table_view.hpp"
#include "threads/call.hpp"
#include "tokenizer/tokenizer.hpp"

namespace nibblevec {

struct Kernel;

// Makes vectors of texts. Borrowed. The tokenizer's ids are rows of the table, or become
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

// Writes a vector of `head.dims` floats for each text, end to end; an absent text gets that of no
// tokens. A block of texts goes the whole way, from characters to vectors, on one thread, then
// comes the next. Returns the number of texts that were cut by truncation; early, with the rest of
// the vectors unwritten, when the interruption is requested. Texts are numbered from
// `first_number` in errors.
size_t encode_vectors(const VectorModel& model, std::span<const TextView> texts,
                      size_t first_number, size_t threads, Interruption& interruption,
                      float* vectors, size_t piece_characters = kPieceCharacters);

}  // namespace nibblevec
