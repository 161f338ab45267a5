#include "tokenizer/tokenizer.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace nibblevec {

namespace {

// Idle scratch that is kept, and how much memory a long text may leave in each part of it.
constexpr size_t kMaxFree = 64;
constexpr size_t kMaxKeptBytes = size_t{1} << 20;

// Of 4 KB each: below a millisecond of work.
constexpr size_t kWindowsBetweenAsking = 32;

template <typename Container>
void forget_if_large(Container& container) {
    if (container.capacity() * sizeof(typename Container::value_type) > kMaxKeptBytes)
        Container().swap(container);
}

// Throws std::invalid_argument where `tokenizers` has no order to follow.
std::vector<AddedToken> normalized(std::vector<AddedToken> tokens, const BertWords& words) {
    for (AddedToken& token : tokens) {
        std::string normal;
        words.normalize(token.content, normal);
        if (normal.find_first_not_of(' ') == std::string::npos)
            throw std::invalid_argument("added token '" + token.content +
                                        "' normalises to nothing");
        token.content = std::move(normal);
    }
    std::vector<std::string_view> contents;
    for (const AddedToken& token : tokens) contents.push_back(token.content);
    std::ranges::sort(contents);
    const auto repeated = std::ranges::adjacent_find(contents);
    if (repeated != contents.end())
        throw std::invalid_argument("two added tokens normalise to '" + std::string(*repeated) +
                                    "'");
    return tokens;
}

size_t limit_of(std::span<const uint32_t> ids, size_t unknown_id,
                const std::vector<AddedToken>& raw_tokens,
                const std::vector<AddedToken>& normalized_tokens) {
    size_t last = unknown_id;
    for (const uint32_t id : ids) last = std::max<size_t>(last, id);
    for (const AddedToken& token : raw_tokens) last = std::max<size_t>(last, token.id);
    for (const AddedToken& token : normalized_tokens) last = std::max<size_t>(last, token.id);
    return last + 1;
}

}  // namespace

Tokenizer::Tokenizer(std::span<const std::string_view> tokens, std::span<const uint32_t> ids,
                     const WordPiece::Settings& wordpiece, const BertSettings& bert,
                     std::vector<AddedToken> raw_tokens, std::vector<AddedToken> normalized_tokens)
    : id_limit_(limit_of(ids, wordpiece.unknown_id, raw_tokens, normalized_tokens)),
      words_(bert, wordpiece.max_input_chars_per_word),
      wordpiece_(tokens, ids, wordpiece),
      raw_tokens_(std::move(raw_tokens)) {
    free_.reserve(kMaxFree);  // so that keeping one never allocates
    if (normalized_tokens.empty()) return;
    normalized_tokens_.emplace(normalized(std::move(normalized_tokens), words_));
    constexpr BertSettings kAsItIs{false, false, false, false};
    normal_words_.emplace(kAsItIs, wordpiece.max_input_chars_per_word);
}

// Whoever forks while a thread holds the lock leaves the child with a lock that nobody gives back:
// who does not get it at once does without.
Tokenizer::Borrowed::Borrowed(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {
    if (const std::unique_lock lock(tokenizer.mutex_, std::try_to_lock);
        lock && !tokenizer.free_.empty()) {
        scratch_ = std::move(tokenizer.free_.back());
        tokenizer.free_.pop_back();
    }
    if (!scratch_) scratch_ = std::make_unique<Scratch>();
    scratch_->ids.count = 0;
}

Tokenizer::Borrowed::~Borrowed() {
    forget_if_large(scratch_->words.bytes);
    forget_if_large(scratch_->words.spans);
    forget_if_large(scratch_->words.pending);
    forget_if_large(scratch_->normal);
    forget_if_large(scratch_->text);
    forget_if_large(scratch_->ids.ids);
    const std::unique_lock lock(tokenizer_.mutex_, std::try_to_lock);
    if (lock && tokenizer_.free_.size() < kMaxFree) tokenizer_.free_.push_back(std::move(scratch_));
}

// The way of one text.
struct Tokenizer::Run {
    const Tokenizer& tokenizer;
    const Kernel& kernel;
    const Truncation& truncation;
    Scratch& scratch;
    IdSink* sink;
    size_t begin = scratch.ids.count;  // of this text's ids
    size_t given = 0;                  // ids that went to the sink

    bool is_cut = false;
    bool is_stopped = false;

    // Nothing more of the text matters.
    bool is_full() const {
        if (is_stopped) return true;
        return !truncation.keep_end && scratch.ids.count - begin + given > truncation.max_length;
    }

    void take_words(const BertWords& words, std::string_view text) {
        BertWords::Reader reader(words, kernel, text, scratch.words);
        for (size_t window = 1; !is_full() && reader.next(); ++window) {
            tokenizer.wordpiece_.encode(scratch.words, scratch.cache, scratch.ids);
            drain();
            if (window % kWindowsBetweenAsking == 0 && sink != nullptr && !sink->goes_on())
                is_stopped = true;
        }
    }

    void take_piece(std::string_view text) {
        if (is_full()) return;
        if (!tokenizer.normalized_tokens_) {
            take_words(tokenizer.words_, text);
            return;
        }
        scratch.normal.clear();
        tokenizer.words_.normalize(text, scratch.normal);
        tokenizer.normalized_tokens_->split(
            scratch.normal,
            [&](std::string_view piece) { take_words(*tokenizer.normal_words_, piece); },
            [&](uint32_t id) { take_id(id); });
    }

    void take_id(uint32_t id) {
        if (is_full()) return;
        scratch.ids.reserve(1);
        scratch.ids.ids[scratch.ids.count++] = id;
        drain();
    }

    void drain() {
        if (truncation.keep_end && truncation.max_length != Truncation::kUnlimited) {
            // Only the last ids matter.
            if (scratch.ids.count - begin > truncation.max_length + kPieceIds) keep_last();
            return;
        }
        if (sink == nullptr || scratch.ids.count < kPieceIds || is_full()) return;
        is_stopped = !sink->take({scratch.ids.ids.data(), scratch.ids.count});
        given += scratch.ids.count - begin;
        scratch.ids.count = begin = 0;
    }

    void keep_last() {
        uint32_t* ids = scratch.ids.ids.data() + begin;
        const size_t count = scratch.ids.count - begin;
        std::memmove(ids, ids + (count - truncation.max_length),
                     truncation.max_length * sizeof *ids);
        scratch.ids.count = begin + truncation.max_length;
        is_cut = true;
    }

    Encoded finish() {
        if (scratch.ids.count - begin + given > truncation.max_length) {
            if (truncation.keep_end) keep_last();
            scratch.ids.count = begin + (truncation.max_length - given);
            is_cut = true;
        }
        return {scratch.ids.count - begin + given, is_cut};
    }
};

Encoded Tokenizer::encode(const Kernel& kernel, std::string_view text, const Truncation& truncation,
                          Scratch& scratch, IdSink* sink) const {
    Run run{*this, kernel, truncation, scratch, sink};
    if (raw_tokens_.empty()) {
        run.take_piece(text);
    } else {
        raw_tokens_.split(
            text, [&](std::string_view piece) { run.take_piece(piece); },
            [&](uint32_t id) { run.take_id(id); });
    }
    return run.finish();
}

}  // namespace nibblevec
