#pragma once

#include <stddef.h>
#include <stdint.h>

#include <span>
#include <string_view>
#include <vector>

#include "kernel/word_masks.hpp"
#include "tokenizer/bert_characters.hpp"
#include "tokenizer/word_buffer.hpp"

namespace nibblevec {

struct Kernel;

// The words of BERT: a window of text in lower case, then the words that were put together.
struct BertWordBuffer : WordBuffer {
    // Bytes of text that are taken at a time: what they fill stays in the first-level cache.
    static constexpr size_t kWindowBytes = 4096;

    WordMasks masks[kWindowBytes / 64 + 1];
    std::vector<NormalCharacter> pending;  // combining marks since the last character of class 0
};

// BertNormalizer and BertPreTokenizer in one pass: cleaning, spaces around Chinese characters,
// accents, lower case; split at whitespace, punctuation by itself.
//
// Gives the words of a text, a window at a time: `while (reader.next()) use(buffer.words())`. The
// text may come in pieces that end anywhere between two characters.
//
// Runs of ASCII are walked by the set bits of masks. A word with anything else in it is put
// together character by character, each by one entry of the table of characters. Only combining
// marks that stay (strip_accents removes most) have to wait for their order.
class BertWordReader {
  public:
    // Words are cut a little after `max_characters`: a longer one is unknown in any case.
    BertWordReader(const BertCharacters& characters, size_t max_characters, const Kernel& kernel,
                   BertWordBuffer& buffer);
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

    const BertCharacters& characters_;
    size_t max_characters_;  // of a word
    const Kernel& kernel_;
    const uint8_t* text_ = nullptr;  // the window's
    size_t count_ = 0;               // bytes of the window
    size_t left_ = 0;                // bytes of the piece that come after it
    bool ends_text_ = true;
    BertWordBuffer& buffer_;
    // The word that is being put together: the end of the bytes in use.
    size_t word_begin_;
    size_t end_;
    size_t word_characters_ = 0;
};

// A text as the reader looks at it: the masks of each 64 bytes, and a copy.
struct ScannedText {
    std::vector<WordMasks> masks;
    std::vector<uint8_t> copy;  // whole blocks of 64 bytes
};

// The copy has ASCII letters in lower case if so asked. For tests.
ScannedText scan_text(const Kernel& kernel, std::span<const uint8_t> text, bool lowercase);

}  // namespace nibblevec
