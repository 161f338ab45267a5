#include "tokenizer/wordpiece.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

#include "text/utf8.hpp"

namespace nibblevec {

namespace {

// A line holds two words: half full if they fell evenly.
size_t lines_for(size_t words) { return std::bit_ceil(std::max<size_t>(words, 16)); }

}  // namespace

WordPiece::WordPiece(std::span<const std::string_view> tokens, std::span<const uint32_t> ids,
                     const Settings& settings)
    : settings_(settings), whole_words_(lines_for(tokens.size())) {
    std::vector<ByteTrie::Key> first;
    std::vector<ByteTrie::Key> continuation;
    first.reserve(tokens.size());
    const std::string_view prefix = settings_.continuing_subword_prefix;
    for (size_t i = 0; i < tokens.size(); ++i) {
        if (!tokens[i].empty()) first.push_back({tokens[i], ids[i]});
        if (tokens[i].size() > prefix.size() && tokens[i].starts_with(prefix))
            continuation.push_back({tokens[i].substr(prefix.size()), ids[i]});
    }

    // Low ids first: they are the frequent words, where ids are in any order.
    std::ranges::stable_sort(first, {}, &ByteTrie::Key::value);
    for (const ByteTrie::Key& token : first) {
        uint8_t word[WordEntry::kMaxBytes] = {};
        const size_t byte_count = token.bytes.size();
        if (byte_count > WordEntry::kMaxBytes) continue;
        std::memcpy(word, token.bytes.data(), byte_count);
        if (utf8::count_characters(word, byte_count) <= settings_.max_input_chars_per_word)
            whole_words_.insert(word_key(word, byte_count), {&token.value, 1});
    }
    first_root_ = trie_.add(std::move(first));
    long_continuations_ = LongKeys(continuation);
    continuation_root_ = trie_.add(std::move(continuation));
}

// Returns the number of ids: at most one a byte, and at least one.
size_t WordPiece::match(const uint8_t* word, size_t byte_count, uint32_t* ids, Pulse& pulse) const {
    ids[0] = settings_.unknown_id;
    const size_t max_characters = settings_.max_input_chars_per_word;
    if (byte_count > max_characters && (byte_count > utf8::kMaxBytes * max_characters ||
                                        utf8::count_characters(word, byte_count) > max_characters))
        return 1;
    size_t count = 0;
    LongKeys::Window window;
    ByteTrie::Match match = trie_.longest_match(first_root_, word, byte_count);
    for (size_t begin = 0; match.byte_count != 0;) {
        ids[count++] = match.value;
        begin += match.byte_count;
        if (begin == byte_count || !pulse.beat(match.byte_count)) return count;
        match = long_continuations_.empty()
                    ? trie_.longest_match(continuation_root_, word + begin, byte_count - begin)
                    : long_continuations_.longest_match(
                          trie_, continuation_root_,
                          {reinterpret_cast<const char*>(word), byte_count}, begin, window, pulse);
    }
    ids[0] = settings_.unknown_id;
    return 1;
}

void WordPiece::encode(const WordBuffer& words, WordTable& cache, IdBuffer& ids,
                       Pulse& pulse) const {
    size_t most = WordEntry::kMaxIds;
    for (const WordSpan& word : words.words()) most += word.byte_count;
    ids.reserve(most);
    uint32_t* next = ids.ids.data() + ids.count;

    // In three steps, so that the lines of a group of words are fetched side by side, and then
    // those of the cache for the words that are not whole ones.
    constexpr size_t kGroup = 64;
    WordTable::Key keys[kGroup];
    const WordEntry* entries[kGroup];
    const std::span<const WordSpan> spans = words.words();
    for (size_t begin = 0; begin < spans.size(); begin += kGroup) {
        const size_t group = std::min(kGroup, spans.size() - begin);
        for (size_t i = 0; i < group; ++i) {
            const WordSpan& word = spans[begin + i];
            keys[i] = word_key(words.bytes.data() + word.begin, word.byte_count);
            whole_words_.prefetch(keys[i]);
        }
        for (size_t i = 0; i < group; ++i) {
            entries[i] = whole_words_.find(keys[i]);
            if (entries[i] == nullptr) cache.prefetch(keys[i]);
        }
        for (size_t i = 0; i < group; ++i) {
            const WordTable::Key& key = keys[i];
            const bool is_short = key.byte_count <= WordEntry::kMaxBytes;
            const WordEntry* entry = entries[i];
            if (entry == nullptr && is_short) entry = cache.find(key);
            if (entry != nullptr) {
                std::memcpy(next, entry->ids, sizeof entry->ids);
                next += entry->id_count;
                continue;
            }
            const uint8_t* word = words.bytes.data() + spans[begin + i].begin;
            const size_t count = match(word, key.byte_count, next, pulse);
            if (is_short && count <= WordEntry::kMaxIds) cache.replace(key, {next, count});
            next += count;
        }
    }
    ids.count = static_cast<size_t>(next - ids.ids.data());
}

}  // namespace nibblevec
