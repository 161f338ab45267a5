#include "tokenizer/tokenizer.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "text/utf8.hpp"

namespace nibblevec {

namespace {

// Idle scratch that is kept, and the memory that a long text may leave in each part of it.
constexpr size_t kMaxFree = 64;
constexpr size_t kMaxKeptBytes = size_t{1} << 20;

// A place to cut a piece is searched in its last bytes: a small part of its work.
constexpr size_t kSearchedBytes = 4096;

template <typename Container>
void forget_if_large(Container& container) {
    if (container.capacity() * sizeof(typename Container::value_type) > kMaxKeptBytes)
        Container().swap(container);
}

// Throws std::invalid_argument where `tokenizers` has no order to follow.
std::vector<AddedToken> normalized(std::vector<AddedToken> tokens,
                                   const BertCharacters& characters) {
    for (AddedToken& token : tokens) {
        std::string normal;
        Pulse pulse(nullptr);
        characters.normalize(token.content, normal, pulse);
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
      characters_(bert),
      max_word_characters_(wordpiece.max_input_chars_per_word),
      wordpiece_(tokens, ids, wordpiece),
      raw_tokens_(std::move(raw_tokens)) {
    free_.reserve(kMaxFree);  // so that keeping one never allocates
    if (normalized_tokens.empty()) return;
    normalized_tokens_.emplace(normalized(std::move(normalized_tokens), characters_));
    constexpr BertSettings kAsItIs{false, false, false, false};
    normal_characters_.emplace(kAsItIs);
}

// A fork while another thread holds the lock leaves the child with a lock that nobody releases. So
// a thread that does not get the lock at once does without the list.
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

Tokenizer::Run::Run(const Tokenizer& tokenizer, const Kernel& kernel, const Truncation& truncation,
                    Scratch& scratch, IdSink* sink)
    : tokenizer_(tokenizer),
      truncation_(truncation),
      scratch_(scratch),
      sink_(sink),
      pulse_(sink),
      reader_(tokenizer.normalized_tokens_ ? *tokenizer.normal_characters_ : tokenizer.characters_,
              tokenizer.max_word_characters_, kernel, scratch.words),
      begin_(scratch.ids.count) {}

// Whether the rest of the text does not matter.
inline bool Tokenizer::Run::is_full() const {
    if (is_stopped_ || pulse_.is_stopped()) return true;
    return !truncation_.keep_end && scratch_.ids.count - begin_ + given_ > truncation_.max_length;
}

inline void Tokenizer::Run::take_words(std::string_view text, bool ends) {
    reader_.feed(text, ends);
    const size_t window_bytes = std::min(text.size(), BertWordBuffer::kWindowBytes);
    while (!is_full() && reader_.next()) {
        tokenizer_.wordpiece_.encode(scratch_.words, scratch_.cache, scratch_.ids, pulse_);
        drain();
        pulse_.beat(window_bytes);
    }
}

// Text without raw tokens. It ends where a token or nothing follows.
inline void Tokenizer::Run::take_raw(std::string_view text, bool ends) {
    if (tokenizer_.normalized_tokens_)
        take_normalized(text, ends);
    else
        take_words(text, ends);
}

void Tokenizer::Run::take(std::string_view piece, bool ends_text) {
    if (is_full()) return;
    if (tokenizer_.raw_tokens_.empty()) {
        take_raw(piece, ends_text);
        return;
    }
    const char* end = piece.data() + piece.size();
    tokenizer_.raw_tokens_.split(
        piece, pulse_,
        [&](std::string_view text) {
            take_raw(text, ends_text || text.data() + text.size() != end);
            return !is_full();
        },
        [&](uint32_t id) {
            take_id(id);
            return !is_full();
        });
}

void Tokenizer::Run::take_normalized(std::string_view text, bool ends) {
    std::string& normal = scratch_.normal;
    normal.clear();
    tokenizer_.characters_.normalize(text, normal, pulse_);
    const char* end = normal.data() + normal.size();
    tokenizer_.normalized_tokens_->split(
        normal, pulse_,
        [&](std::string_view words) {
            take_words(words, ends || words.data() + words.size() != end);
            return !is_full();
        },
        [&](uint32_t id) {
            take_id(id);
            return !is_full();
        });
    if (ends) end_words();
}

// A word that came with the piece before waits until it is known to end.
void Tokenizer::Run::end_words() {
    if (!reader_.is_idle()) take_words({}, true);
}

void Tokenizer::Run::take_id(uint32_t id) {
    end_words();
    if (is_full()) return;
    scratch_.ids.reserve(1);
    scratch_.ids.ids[scratch_.ids.count++] = id;
    drain();
}

inline void Tokenizer::Run::drain() {
    if (truncation_.keep_end && truncation_.max_length != Truncation::kUnlimited) {
        // Only the last ids matter.
        if (scratch_.ids.count - begin_ > truncation_.max_length + kPieceIds) keep_last();
        return;
    }
    if (sink_ == nullptr || scratch_.ids.count < kPieceIds || is_full()) return;
    is_stopped_ = !sink_->take({scratch_.ids.ids.data(), scratch_.ids.count});
    given_ += scratch_.ids.count - begin_;
    scratch_.ids.count = begin_ = 0;
}

void Tokenizer::Run::keep_last() {
    uint32_t* ids = scratch_.ids.ids.data() + begin_;
    const size_t count = scratch_.ids.count - begin_;
    std::memmove(ids, ids + (count - truncation_.max_length), truncation_.max_length * sizeof *ids);
    scratch_.ids.count = begin_ + truncation_.max_length;
    is_cut_ = true;
}

Encoded Tokenizer::Run::finish() {
    if (scratch_.ids.count - begin_ + given_ > truncation_.max_length) {
        if (truncation_.keep_end) keep_last();
        scratch_.ids.count = begin_ + (truncation_.max_length - given_);
        is_cut_ = true;
    }
    return {scratch_.ids.count - begin_ + given_, is_cut_};
}

Encoded Tokenizer::encode(const Kernel& kernel, std::string_view text, const Truncation& truncation,
                          Scratch& scratch, IdSink* sink) const {
    Run run(*this, kernel, truncation, scratch, sink);
    run.take(text, true);
    return run.finish();
}

size_t Tokenizer::piece_end(std::string_view text) const {
    const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
    const size_t least = text.size() - std::min(text.size(), kSearchedBytes);
    for (size_t end = text.size(); end > least;) {
        const size_t begin = utf8::character_begin(bytes, end - 1);
        uint32_t code_point;
        utf8::decode(bytes + begin, code_point);
        if (may_cut_behind(code_point)) return end;
        end = begin;
    }
    return 0;
}

// Added tokens must be found as they would be in the whole text, and marks put in the same order.
// The words themselves may be cut anywhere.
bool Tokenizer::may_cut_behind(uint32_t code_point) const {
    if (!raw_tokens_.may_cut_behind(code_point)) return false;
    if (!normalized_tokens_) return true;
    const std::optional<uint32_t> normal = characters_.normal_end_of(code_point);
    return normal && normalized_tokens_->may_cut_behind(*normal);
}

}  // namespace nibblevec
