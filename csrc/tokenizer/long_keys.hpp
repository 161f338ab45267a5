#pragma once

#include <stddef.h>
#include <stdint.h>

#include <string_view>
#include <vector>

#include "tokenizer/byte_trie.hpp"
#include "tokenizer/pulse.hpp"

namespace nibblevec {

// The long ones of a set of keys, so that a longest match at each position of a text takes time in
// proportion to the text.
//
// A walk down a trie takes as many steps as the longest key has bytes, which is nothing as long as
// keys are short; but where text goes on and on like the beginning of a long key ("[[[[" and a key
// of 40,000 "["), a walk from every position takes text times key. So a walk ends after
// kShortBytes. If it is not at an end of the trie there, long keys are searched in a window of the
// text, from its right to its left, by an automaton of the keys written backwards (Aho and
// Corasick's): it goes over each byte once, and the longest key that it has just read begins at
// this byte.
class LongKeys {
  public:
    // Vocabularies of languages have few longer ones.
    static constexpr size_t kShortBytes = 32;

    // For each position of a part of one text the number of the longest key that begins there.
    struct Window {
        size_t begin = 0;
        size_t end = 0;
        std::vector<uint32_t> keys;
    };

    LongKeys() = default;
    // Takes the long ones of `keys`.
    explicit LongKeys(const std::vector<ByteTrie::Key>& keys);

    bool empty() const { return lengths_.empty(); }

    // The longest key that stands in `text` at `position`: of the set with this root in `trie`,
    // whose long keys these are. `window` belongs to the text. None once the pulse says stop.
    ByteTrie::Match longest_match(const ByteTrie& trie, uint32_t root, std::string_view text,
                                  size_t position, Window& window, Pulse& pulse) const;

  private:
    struct Node {
        uint32_t shorter = ByteTrie::kNoNode;  // of its longest proper suffix that is a node
        uint32_t key = ByteTrie::kNoValue;     // the longest that it ends with
    };

    uint32_t next(uint32_t node, uint8_t byte) const;
    void fill(std::string_view text, size_t begin, Window& window, Pulse& pulse) const;

    ByteTrie backward_;
    uint32_t root_ = 0;
    std::vector<Node> nodes_;  // by the trie's unit
    std::vector<size_t> lengths_;
    std::vector<uint32_t> values_;
    size_t longest_ = 0;
};

}  // namespace nibblevec
