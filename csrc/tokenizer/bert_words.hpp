#pragma once

#include <stddef.h>
#include <stdint.h>

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernel/kernel.hpp"
#include "tokenizer/pulse.hpp"

namespace nibblevec {

// The switches of Hugging Face's BertNormalizer.
struct BertSettings {
    bool clean_text;
    bool handle_chinese_chars;
    bool strip_accents;
    bool lowercase;
};

// The words of a piece of text, normalised: `byte_count` bytes of WordBuffer::bytes.
struct WordSpan {
    uint32_t begin;
    uint32_t byte_count;
};

// One character of normalised text, in the middle of being put in order.
struct NormalCharacter {
    enum class Role : uint8_t { word, punctuation, whitespace, nothing };
    uint32_t code_point;
    uint8_t rank;  // order of the combining class; 0 keeps its place
    Role role;     // nothing: a removed mark of class 0, which marks do not pass
};

// What a thread needs to split texts; reused from text to text.
struct WordBuffer {
    // Text is taken so many bytes at a time: what this fills stays in the first-level cache.
    static constexpr size_t kWindowBytes = 4096;
    // Eight bytes may be stored, and sixteen loaded, where a word of one begins.
    static constexpr size_t kSlackBytes = 64;

    std::span<const WordSpan> words() const { return {spans.data(), span_count}; }

    std::vector<uint8_t> bytes;  // a window in lower case, then words put together
    std::vector<WordSpan> spans;
    size_t span_count = 0;
    WordMasks masks[kWindowBytes / 64 + 1];
    std::vector<NormalCharacter> pending;  // combining marks since the last character of class 0
};

// BertNormalizer and BertPreTokenizer in one pass: cleaning, spaces around Chinese characters,
// accents, lower case; split at whitespace, punctuation by itself.
//
// Runs of ASCII are walked by the set bits of masks. A word with anything else in it is put
// together character by character, each by one entry of a table made for the settings. Only
// combining marks that stay (strip_accents removes most) have to wait for their order.
class BertWords {
  public:
    // Words are cut a little after `max_characters`: longer ones are unknown whatever they hold.
    BertWords(const BertSettings& settings, size_t max_characters);

    // Appends what the normalizer alone makes of valid UTF-8; less once the pulse says stop.
    void normalize(std::string_view text, std::string& normal, Pulse& pulse) const;

    // What a code point ends in when it is normalised, where nothing that comes later moves it.
    std::optional<uint32_t> normal_end_of(uint32_t code_point) const;

    // Gives the words of a text, a window at a time: `while (reader.next()) use(buffer.words())`.
    // The text may come in pieces that end anywhere between two characters.
    class Reader {
      public:
        Reader(const BertWords& words, const Kernel& kernel, WordBuffer& buffer);
        // `piece` is valid UTF-8, borrowed until `next` is false; what came before was read to its
        // end. The last word waits for the next piece unless the text ends here.
        void feed(std::string_view piece, bool ends_text);
        bool next();
        // Whether no word waits.
        bool is_idle() const { return word_characters_ == 0 && buffer_.pending.empty(); }

      private:
        size_t walk_block(size_t block, size_t position);
        size_t walk_characters(size_t position);
        size_t word_run(size_t position) const;
        size_t window_bytes() const;
        void take_character(const uint8_t* text, size_t byte_count, uint32_t code_point);
        void take(NormalCharacter character);
        void flush_pending();
        void append(const uint8_t* bytes, size_t byte_count, size_t characters);
        void append_code_point(uint32_t code_point);
        void add_alone(const uint8_t* bytes, size_t byte_count);
        void end_word();
        bool more_follows() const { return left_ > 0 || !ends_text_; }  // after the window
        bool is_other(size_t position) const {
            return buffer_.masks[position / 64].other >> position % 64 & 1;
        }
        bool is_word(size_t position) const {
            return buffer_.masks[position / 64].word >> position % 64 & 1;
        }

        const BertWords& words_;
        const Kernel& kernel_;
        const uint8_t* text_ = nullptr;  // the window's
        size_t count_ = 0;               // bytes of the window
        size_t left_ = 0;                // bytes of the piece that come after it
        bool ends_text_ = true;
        WordBuffer& buffer_;
        // The word that is being put together: the end of the bytes in use.
        size_t word_begin_;
        size_t end_;
        size_t word_characters_ = 0;
    };

  private:
    // What a code point becomes, in 64 bits: kind in bits 0 to 2; bytes in bits 3 to 5 and
    // characters - 1 in bits 6 and 7 of a text that stands in the bytes from the second on; or
    // for a sequence its begin in bits 8 to 39 and its length from bit 40 on.
    enum Kind : uint64_t {
        kDrop,      // nothing
        kBarrier,   // nothing, but marks do not pass it
        kSpace,     // ends the word
        kAlone,     // a word by itself: the text, or the character as it is where that is empty
        kKeep,      // part of a word as it is
        kText,      // part of a word: the text
        kSequence,  // of characters of several roles or ranks
        kHangul,    // a syllable that is decomposed
    };

    static constexpr size_t kBlockCodePoints = 128;

    uint64_t entry_of(uint32_t code_point) const {
        return blocks_[block_of_[code_point / kBlockCodePoints] * kBlockCodePoints +
                       code_point % kBlockCodePoints];
    }
    uint64_t make_entry(uint32_t code_point);
    std::vector<NormalCharacter> characters_of(uint32_t code_point) const;
    bool spaces_around(uint8_t flags) const;

    BertSettings settings_;
    size_t max_characters_;
    std::vector<uint16_t> block_of_;
    std::vector<uint64_t> blocks_;
    std::vector<NormalCharacter> sequences_;
};

}  // namespace nibblevec
