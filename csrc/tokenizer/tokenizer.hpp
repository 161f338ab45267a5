#pragma once

#include <stddef.h>
#include <stdint.h>

#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/added_tokens.hpp"
#include "tokenizer/bert_characters.hpp"
#include "tokenizer/bert_word_reader.hpp"
#include "tokenizer/ids.hpp"
#include "tokenizer/pulse.hpp"
#include "tokenizer/word_table.hpp"
#include "tokenizer/wordpiece.hpp"

namespace nibblevec {

struct Kernel;

// A whole tokenizer: added tokens; BERT's normalizer and pre-tokenizer; WordPiece. Immutable, so
// any number of threads may share it; each borrows a Scratch for as long as it works.
class Tokenizer {
  public:
    // Added tokens that are `normalized` are found in normalised text, in their own normal form;
    // the others before, in the raw text.
    Tokenizer(std::span<const std::string_view> tokens, std::span<const uint32_t> ids,
              const WordPiece::Settings& wordpiece, const BertSettings& bert,
              std::vector<AddedToken> raw_tokens, std::vector<AddedToken> normalized_tokens);

    // The working memory of a thread. Its cache holds words of this tokenizer only.
    struct Scratch {
        BertWordBuffer words;
        WordTable cache{WordPiece::kCacheLines};
        std::string normal;
        std::vector<uint8_t> text;  // UTF-8 of texts that are kept otherwise
        IdBuffer ids;
    };

    // Returns the scratch on its end.
    class Borrowed {
      public:
        explicit Borrowed(const Tokenizer& tokenizer);
        ~Borrowed();
        Borrowed(const Borrowed&) = delete;
        Borrowed& operator=(const Borrowed&) = delete;
        Scratch& operator*() const { return *scratch_; }

      private:
        const Tokenizer& tokenizer_;
        std::unique_ptr<Scratch> scratch_;
    };

    // Appends the ids of a text, valid UTF-8, to `scratch.ids`. Whenever these are kPieceIds, those
    // of texts before included, a sink gets them all; those that are there at the end stay.
    Encoded encode(const Kernel& kernel, std::string_view text, const Truncation& truncation,
                   Scratch& scratch, IdSink* sink = nullptr) const;

    static constexpr size_t kPieceIds = size_t{1} << 16;

    // Encodes one text, which may come in pieces.
    class Run {
      public:
        // Borrows all of these, and the scratch for itself alone.
        Run(const Tokenizer& tokenizer, const Kernel& kernel, const Truncation& truncation,
            Scratch& scratch, IdSink* sink);
        // Pieces but the last end at a `piece_end`. They need not outlive the call.
        void take(std::string_view piece, bool ends_text);
        Encoded finish();

      private:
        bool is_full() const;
        void take_raw(std::string_view text, bool ends);
        void take_normalized(std::string_view text, bool ends);
        void take_words(std::string_view text, bool ends);
        void end_words();
        void take_id(uint32_t id);
        void drain();
        void keep_last();

        const Tokenizer& tokenizer_;
        const Truncation& truncation_;
        Scratch& scratch_;
        IdSink* sink_;
        Pulse pulse_;
        BertWordReader reader_;
        size_t begin_;      // of this text's ids
        size_t given_ = 0;  // ids that went to the sink
        bool is_cut_ = false;
        bool is_stopped_ = false;
    };

    // The last place where `text` may be cut, whatever comes next; 0 if there is none near its end.
    size_t piece_end(std::string_view text) const;

    // Every id is below it.
    size_t id_limit() const { return id_limit_; }

  private:
    bool may_cut_behind(uint32_t code_point) const;

    size_t id_limit_;
    BertCharacters characters_;
    size_t max_word_characters_;
    WordPiece wordpiece_;
    AddedTokens raw_tokens_;
    std::optional<AddedTokens> normalized_tokens_;
    std::optional<BertCharacters> normal_characters_;  // of text that is normalised already

    mutable std::mutex mutex_;
    mutable std::vector<std::unique_ptr<Scratch>> free_;
};

}  // namespace nibblevec
