#include "tokenizer/added_tokens.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "text/utf8.hpp"
#include "tokenizer/unicode.hpp"
#include "tokenizer/unicode_tables.hpp"

namespace nibblevec {

namespace {

// Text that is searched between two beats of the pulse.
constexpr size_t kSearchedBytes = size_t{1} << 14;

const uint8_t* bytes_of(std::string_view text) {
    return reinterpret_cast<const uint8_t*>(text.data());
}

// The character before `position`, which is not 0.
uint8_t flags_before(std::string_view text, size_t position, size_t& begin) {
    begin = utf8::character_begin(bytes_of(text), position - 1);
    uint32_t code_point;
    utf8::decode(bytes_of(text) + begin, code_point);
    return unicode::properties_of(code_point).flags;
}

// The character at `position`, which is not the end.
uint8_t flags_after(std::string_view text, size_t position, size_t& end) {
    uint32_t code_point;
    end = position + utf8::decode(bytes_of(text) + position, code_point);
    return unicode::properties_of(code_point).flags;
}

}  // namespace

AddedTokens::AddedTokens(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
    std::vector<ByteTrie::Key> keys;
    for (size_t i = 0; i < tokens_.size(); ++i) {
        keys.push_back({tokens_[i].content, static_cast<uint32_t>(i)});
        starts_[static_cast<uint8_t>(tokens_[i].content.front())] = true;
        for (const char byte : tokens_[i].content) contains_[static_cast<uint8_t>(byte)] = true;
        if (tokens_[i].single_word) seen_around_ |= unicode::kWord;
        if (tokens_[i].lstrip || tokens_[i].rstrip) seen_around_ |= unicode::kWhitespace;
    }
    if (std::ranges::count(starts_, true) == 1)
        only_start_ = static_cast<int>(std::ranges::find(starts_, true) - starts_);
    long_contents_ = LongKeys(keys);
    root_ = trie_.add(std::move(keys));
}

bool AddedTokens::may_cut_behind(uint32_t code_point) const {
    uint8_t bytes[utf8::kMaxBytes];
    utf8::encode(code_point, bytes);
    return !contains_[bytes[0]] && !(unicode::properties_of(code_point).flags & seen_around_);
}

// Where a content may begin; the end of the text if nowhere, or if the pulse says stop.
size_t AddedTokens::next_start(std::string_view text, size_t position, Pulse& pulse) const {
    while (position < text.size()) {
        const size_t end = position + std::min(kSearchedBytes, text.size() - position);
        const size_t begin = position;
        if (only_start_ >= 0) {
            position =
                std::min(text.substr(0, end).find(static_cast<char>(only_start_), position), end);
        } else {
            while (position < end && !starts_[bytes_of(text)[position]]) ++position;
        }
        if (!pulse.beat(position - begin + 1)) return text.size();
        if (position < end) return position;
    }
    return position;
}

bool AddedTokens::find(std::string_view text, size_t& position, size_t given,
                       LongKeys::Window& window, Pulse& pulse, Found& found) const {
    while ((position = next_start(text, position, pulse)) < text.size()) {
        const ByteTrie::Match match =
            long_contents_.empty()
                ? trie_.longest_match(root_, bytes_of(text) + position, text.size() - position)
                : long_contents_.longest_match(trie_, root_, text, position, window, pulse);
        if (match.byte_count == 0) {
            ++position;
            continue;
        }
        const AddedToken& token = tokens_[match.value];
        size_t begin = position;
        size_t end = position + match.byte_count;
        position = end;
        size_t other;
        if (token.single_word) {
            if (begin > 0 && (flags_before(text, begin, other) & unicode::kWord)) continue;
            if (end < text.size() && (flags_after(text, end, other) & unicode::kWord)) continue;
        }
        // Not into text that was given away: whitespace may have gone to the token before.
        if (token.lstrip)
            while (begin > given && (flags_before(text, begin, other) & unicode::kWhitespace) &&
                   pulse.beat(begin - other))
                begin = other;
        if (token.rstrip)
            while (end < text.size() && (flags_after(text, end, other) & unicode::kWhitespace) &&
                   pulse.beat(other - end))
                end = other;
        found = {begin, end, token.id};
        return !pulse.is_stopped();
    }
    return false;
}

}  // namespace nibblevec
