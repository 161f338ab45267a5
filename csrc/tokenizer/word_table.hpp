#pragma once

#include <stddef.h>
#include <stdint.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <span>
#include <vector>

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

    explicit WordTable(size_t lines) : lines_(lines), shift_(64 - std::countr_zero(lines)) {}

    const WordEntry* find(const Key& key) const {
        const Line& line = lines_[key.hash >> shift_];
        for (const WordEntry& entry : line.entries)
            if (entry.low == key.low && entry.high == key.high &&
                entry.byte_count == key.byte_count)
                return &entry;
        return nullptr;
    }
    void prefetch([[maybe_unused]] const Key& key) const {
#if defined(__GNUC__)
        __builtin_prefetch(&lines_[key.hash >> shift_]);
#endif
    }

    // False if the line is full.
    bool insert(const Key& key, std::span<const uint32_t> ids) {
        for (WordEntry& entry : lines_[key.hash >> shift_].entries) {
            if (entry.byte_count != 0) continue;
            entry = {key.low,
                     key.high,
                     {},
                     static_cast<uint8_t>(key.byte_count),
                     static_cast<uint8_t>(ids.size())};
            std::ranges::copy(ids, entry.ids);
            return true;
        }
        return false;
    }

    // Takes the place of the word that was put into the line before the last one.
    void replace(const Key& key, std::span<const uint32_t> ids) {
        Line& line = lines_[key.hash >> shift_];
        line.entries[1] = line.entries[0];
        line.entries[0].byte_count = 0;
        insert(key, ids);
    }

  private:
    struct alignas(64) Line {
        WordEntry entries[2];
    };
    std::vector<Line> lines_;  // a power of two of them
    int shift_;
};

// The bytes of a word of n bytes within sixteen, as two integers.
using ByteMasks = std::array<std::array<uint64_t, 2>, WordEntry::kMaxBytes + 1>;
constexpr ByteMasks kByteMasks = [] {
    ByteMasks masks{};
    for (size_t n = 0; n <= WordEntry::kMaxBytes; ++n)
        for (size_t i = 0; i < n; ++i) masks[n][i / 8] |= uint64_t{0xff} << 8 * (i % 8);
    return masks;
}();

// `word` must be readable for sixteen bytes. With external linkage of masks and function GCC 12
// makes one instruction more for each word.
static inline WordTable::Key word_key(const uint8_t* word, size_t byte_count) {
    // Odd numbers with bits in no pattern (the fractional part of the golden ratio, and two of
    // splitmix64): the upper bits of the product depend on all bits of the word.
    constexpr uint64_t kGolden = 0x9e3779b97f4a7c15;
    constexpr uint64_t kMixFirst = 0xbf58476d1ce4e5b9;
    constexpr uint64_t kMixSecond = 0x94d049bb133111eb;

    WordTable::Key key;
    key.byte_count = byte_count;
    std::memcpy(&key.low, word, 8);
    std::memcpy(&key.high, word + 8, 8);
    const auto& mask = kByteMasks[std::min(byte_count, WordEntry::kMaxBytes)];
    key.low &= mask[0];
    key.high &= mask[1];
    const uint64_t mixed = key.low * kMixFirst ^ std::rotl(key.high * kMixSecond, 32);
    key.hash = (mixed ^ mixed >> 32) * kGolden;
    return key;
}

}  // namespace nibblevec
