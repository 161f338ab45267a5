#include "tokenizer/long_keys.hpp"

#include <algorithm>
#include <string>

namespace nibblevec {

namespace {

constexpr size_t kLeastWindowBytes = 4096;

const uint8_t* bytes_of(std::string_view text) {
    return reinterpret_cast<const uint8_t*>(text.data());
}

}  // namespace

LongKeys::LongKeys(const std::vector<ByteTrie::Key>& keys) {
    std::vector<std::string> backward;
    for (const ByteTrie::Key& key : keys) {
        if (key.bytes.size() <= kShortBytes) continue;
        backward.emplace_back(key.bytes.rbegin(), key.bytes.rend());
        values_.push_back(key.value);
        lengths_.push_back(key.bytes.size());
        longest_ = std::max(longest_, key.bytes.size());
    }
    if (empty()) return;
    std::vector<ByteTrie::Key> numbered;
    for (size_t i = 0; i < backward.size(); ++i)
        numbered.push_back({backward[i], static_cast<uint32_t>(i)});
    root_ = backward_.add(std::move(numbered));

    // Level by level, since the suffix of a node is a level above it at least. Along one key the
    // suffixes get longer by a byte a level, and shorter no more often than they got longer.
    struct Walk {
        std::string_view key;
        uint32_t node;
    };
    std::vector<Walk> walks;
    for (const std::string& key : backward) walks.push_back({key, root_});
    std::ranges::sort(walks, [](const Walk& left, const Walk& right) {
        return left.key.size() > right.key.size();
    });
    nodes_.resize(backward_.unit_count());
    nodes_[root_].shorter = root_;
    for (size_t depth = 0; !walks.empty(); ++depth) {
        for (Walk& walk : walks) {
            const auto byte = static_cast<uint8_t>(walk.key[depth]);
            const uint32_t parent = walk.node;
            walk.node = backward_.child(parent, byte);
            Node& node = nodes_[walk.node];
            if (node.shorter != ByteTrie::kNoNode) continue;  // another key has been here
            node.shorter = parent == root_ ? root_ : next(nodes_[parent].shorter, byte);
            node.key = backward_.value_of(walk.node);
            if (node.key == ByteTrie::kNoValue) node.key = nodes_[node.shorter].key;
        }
        while (!walks.empty() && walks.back().key.size() == depth + 1) walks.pop_back();
    }
}

// The longest node that the bytes read so far end with, after one more byte.
uint32_t LongKeys::next(uint32_t node, uint8_t byte) const {
    for (;;) {
        const uint32_t child = backward_.child(node, byte);
        if (child != ByteTrie::kNoNode) return child;
        if (node == root_) return root_;
        node = nodes_[node].shorter;
    }
}

void LongKeys::fill(std::string_view text, size_t begin, Window& window, Pulse& pulse) const {
    // At least as long as a key: to see the keys that reach over its end, no more is read behind
    // it than the window itself.
    const size_t window_bytes = std::max(longest_, kLeastWindowBytes);
    window.begin = begin;
    window.end = begin + std::min(window_bytes, text.size() - begin);
    window.keys.resize(window.end - begin);
    uint32_t node = root_;
    for (size_t i = window.end + std::min(longest_, text.size() - window.end); i-- > begin;) {
        node = next(node, bytes_of(text)[i]);
        if (i < window.end) window.keys[i - begin] = nodes_[node].key;
        if (!pulse.beat(1)) break;
    }
}

ByteTrie::Match LongKeys::longest_match(const ByteTrie& trie, uint32_t root, std::string_view text,
                                        size_t position, Window& window, Pulse& pulse) const {
    const size_t left = text.size() - position;
    const ByteTrie::Match match =
        trie.longest_match(root, bytes_of(text) + position, std::min(left, kShortBytes));
    if (match.step_count < kShortBytes) return match;
    if (position < window.begin || position >= window.end) fill(text, position, window, pulse);
    if (pulse.is_stopped()) return {};
    const uint32_t key = window.keys[position - window.begin];
    if (key == ByteTrie::kNoValue) return match;
    return {lengths_[key], values_[key], match.step_count};
}

}  // namespace nibblevec
