#pragma once

#include <stddef.h>
#include <stdint.h>

#include <span>
#include <string>
#include <string_view>

#include "tokenizer/byte_trie.hpp"
#include "tokenizer/ids.hpp"
#include "tokenizer/long_keys.hpp"
#include "tokenizer/pulse.hpp"
#include "tokenizer/word_buffer.hpp"
#include "tokenizer/word_table.hpp"

namespace nibblevec {

// Hugging Face's WordPiece model: the longest match from the left, over and over; a word that is
// not matched to its end, or has too many characters, is unknown.
//
// Whole words of the vocabulary up to sixteen bytes are in a table that all threads share; other
// words come from the thread's own cache of fixed size; the rest are matched in a trie.
class WordPiece {
  public:
    struct Settings {
        std::string continuing_subword_prefix;
        size_t max_input_chars_per_word;
        uint32_t unknown_id;
    };

    // Tokens are valid UTF-8 and not repeated; ids[i] belongs to tokens[i].
    WordPiece(std::span<const std::string_view> tokens, std::span<const uint32_t> ids,
              const Settings& settings);

    // Appends the ids of words; not of all once the pulse says stop.
    void encode(const WordBuffer& words, WordTable& cache, IdBuffer& ids, Pulse& pulse) const;

    static constexpr size_t kCacheLines = 16384;  // 1 MB a thread, 32,768 words

  private:
    size_t match(const uint8_t* word, size_t byte_count, uint32_t* ids, Pulse& pulse) const;

    Settings settings_;
    WordTable whole_words_;
    ByteTrie trie_;
    uint32_t first_root_;         // pieces that a word begins with
    uint32_t continuation_root_;  // and those that go on, without their prefix
    LongKeys long_continuations_;
};

}  // namespace nibblevec
