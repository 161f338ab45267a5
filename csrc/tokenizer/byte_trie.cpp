#include "tokenizer/byte_trie.hpp"

#include <algorithm>
#include <stdexcept>

namespace nibblevec {

namespace {

// Free units that are tried as a place for children, before those behind all that are used: the
// time to build stays in proportion to the keys, and single children fill the gaps.
constexpr int kTries = 24;
// Vocabularies of languages take about one unit a byte. Keys made to leave gaps everywhere are
// refused before they take memory out of proportion.
constexpr size_t kMaxUnitsPerByte = 2;
constexpr size_t kFreeUnits = size_t{1} << 18;
constexpr uint32_t kBytes = 256;

// Most keys differ in their first eight bytes, which compare as one number.
void sort_by_bytes(std::vector<ByteTrie::Key>& keys) {
    struct Prefixed {
        uint64_t prefix;
        ByteTrie::Key key;
    };
    std::vector<Prefixed> prefixed;
    prefixed.reserve(keys.size());
    for (const ByteTrie::Key& key : keys) {
        uint64_t prefix = 0;
        for (size_t i = 0; i < 8; ++i)
            prefix = prefix << 8 | (i < key.bytes.size() ? static_cast<uint8_t>(key.bytes[i]) : 0u);
        prefixed.push_back({prefix, key});
    }
    std::ranges::sort(prefixed, [](const Prefixed& left, const Prefixed& right) {
        return left.prefix != right.prefix ? left.prefix < right.prefix
                                           : left.key.bytes < right.key.bytes;
    });
    for (size_t i = 0; i < keys.size(); ++i) keys[i] = prefixed[i].key;
}

}  // namespace

void ByteTrie::grow() {
    const auto begin = static_cast<uint32_t>(units_.size());
    const uint32_t end = begin + std::max(kBytes, begin / 4);
    units_.resize(end);
    next_free_.resize(end);
    previous_free_.resize(end);
    for (uint32_t unit = begin; unit < end; ++unit) {
        previous_free_[unit] = unit == begin ? last_free_ : unit - 1;
        next_free_[unit] = unit + 1 == end ? kNone : unit + 1;
    }
    (last_free_ == kNone ? first_free_ : next_free_[last_free_]) = begin;
    last_free_ = end - 1;
}

void ByteTrie::take_unit(uint32_t unit) {
    const uint32_t next = next_free_[unit];
    const uint32_t previous = previous_free_[unit];
    (previous == kNone ? first_free_ : next_free_[previous]) = next;
    (next == kNone ? last_free_ : previous_free_[next]) = previous;
    next_free_[unit] = unit;  // not free: points to itself
    last_used_ = std::max(last_used_, unit);
}

uint32_t ByteTrie::find_base(std::span<const uint8_t> labels) {
    const auto fits = [&](uint32_t base) {
        return std::ranges::all_of(labels, [&](uint8_t label) {
            const uint32_t unit = base + label;
            return unit >= units_.size() || next_free_[unit] != unit;
        });
    };
    uint32_t unit = first_free_;
    for (int i = 0; i < kTries && unit != kNone; ++i, unit = next_free_[unit])
        if (unit >= labels[0] && fits(unit - labels[0])) return unit - labels[0];
    return std::max(last_used_ + 1, uint32_t{labels[0]}) - labels[0];
}

uint32_t ByteTrie::add(std::vector<Key> keys) {
    sort_by_bytes(keys);
    size_t max_units = units_.size() + kFreeUnits;
    for (const Key& key : keys) max_units += kMaxUnitsPerByte * key.bytes.size();
    const auto make_root = [&] {
        if (first_free_ == kNone) grow();
        const uint32_t root = first_free_;
        take_unit(root);
        units_[root].parent = kNoNode - 1;  // no node has this number
        return root;
    };
    const uint32_t root = make_root();

    struct Range {
        uint32_t node;
        size_t begin, end, depth;
    };
    std::vector<Range> ranges{{root, 0, keys.size(), 0}};
    std::vector<uint8_t> labels;
    std::vector<size_t> ends;
    while (!ranges.empty()) {
        Range range = ranges.back();
        ranges.pop_back();
        if (range.begin < range.end && keys[range.begin].bytes.size() == range.depth)
            units_[range.node].value = keys[range.begin++].value;
        if (range.begin == range.end) continue;
        labels.clear();
        ends.clear();
        for (size_t i = range.begin; i < range.end; ++i) {
            const auto label = static_cast<uint8_t>(keys[i].bytes[range.depth]);
            if (labels.empty() || labels.back() != label) {
                if (!labels.empty()) ends.push_back(i);
                labels.push_back(label);
            }
        }
        ends.push_back(range.end);
        const uint32_t base = find_base(labels);
        while (base + kBytes > units_.size()) grow();
        if (units_.size() > max_units)
            throw std::invalid_argument("its vocabulary would take too much memory");
        units_[range.node].base = base;
        size_t begin = range.begin;
        for (size_t i = 0; i < labels.size(); ++i) {
            const uint32_t child = base + labels[i];
            take_unit(child);
            units_[child].parent = range.node;
            ranges.push_back({child, begin, ends[i], range.depth + 1});
            begin = ends[i];
        }
    }
    return root;
}

}  // namespace nibblevec
