#pragma once

#include <stddef.h>
#include <stdint.h>

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/bert_words.hpp"
#include "tokenizer/byte_trie.hpp"
#include "tokenizer/long_keys.hpp"

namespace nibblevec {

// A short word and its ids: half a cache line.
struct alignas(32) WordEntry {
    static constexpr size_t kMaxBytes = 16;
    static constexpr size_t kMaxIds = 3;

    uint64_t low;  // the word's bytes, then zeros
    uint64_t high;
    uint32_t ids[kMaxIds];
    uint8_t byte_count;  // 0: no word
    uint8_t id_count;
};
static_assert(sizeof(WordEntry) == 32);

// Words by their bytes, in lines of two: one probe is one line of the cache, and a line that is
// full forgets or refuses. So neither time nor memory depends on the words.
class WordTable {
  public:
    struct Key {
        uint64_t low;
        uint64_t high;
        uint64_t hash;
        size_t byte_count;
    };

    explicit WordTable(size_t lines);  // a power of two

    // `word` must be readable for sixteen bytes.
    static Key key_of(const uint8_t* word, size_t byte_count);

    const WordEntry* find(const Key& key) const {
        const Line& line = lines_[key.hash >> shift_];
        for (const WordEntry& entry : line.entries)
            if (entry.low == key.low && entry.high == key.high &&
                entry.byte_count == key.byte_count)
                return &entry;
        return nullptr;
    }
    void prefetch(const Key& key) const;
    // False if the line is full.
    bool insert(const Key& key, std::span<const uint32_t> ids);
    // Takes the place of the word that was put into the line before the last one.
    void replace(const Key& key, std::span<const uint32_t> ids);

  private:
    struct alignas(64) Line {
        WordEntry entries[2];
    };
    std::vector<Line> lines_;
    int shift_;
};

// The ids of a text, in a buffer that is reused from text to text.
struct IdBuffer {
    std::vector<uint32_t> ids;
    size_t count = 0;

    // Room for so many more.
    void reserve(size_t more) {
        if (count + more > ids.size()) ids.resize(2 * (count + more));
    }
};

// Hugging Face's WordPiece model: the longest match from the left, over and over; a word that is
// not matched to its end, or has too many characters, is unknown.
//
// Whole words of the vocabulary up to sixteen bytes are in a table that all threads share; other
// words come out of the thread's own cache of fixed size; the rest are matched in a trie.
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

    // Appends the ids of words; some of them only once the pulse says stop.
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
