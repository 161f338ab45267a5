#pragma once

#include <stddef.h>
#include <stdint.h>

#include <span>
#include <string_view>
#include <vector>

namespace nibblevec {

// Sets of byte strings in one double array: the child of node n by byte b is unit base(n) + b, if
// that unit's parent is n. A step is one load; a longest match takes as many as it has bytes.
class ByteTrie {
  public:
    static constexpr uint32_t kNoValue = 0xffffffff;
    static constexpr uint32_t kNoNode = 0xffffffff;

    struct Key {
        std::string_view bytes;
        uint32_t value;
    };
    struct Match {
        size_t byte_count = 0;  // 0: none
        uint32_t value = kNoValue;
        size_t step_count = 0;  // bytes of the text that some key goes on with
    };

    // Adds a set and returns its root. Keys are not empty and not repeated.
    uint32_t add(std::vector<Key> keys);

    // The longest key of the set that `text` begins with.
    Match longest_match(uint32_t root, const uint8_t* text, size_t byte_count) const {
        Match match;
        uint32_t node = root;
        for (size_t& i = match.step_count; i < byte_count; ++i) {
            const uint32_t next = units_[node].base + text[i];
            const Unit& unit = units_[next];
            if (unit.parent != node) break;
            node = next;
            if (unit.value != kNoValue) {
                match.byte_count = i + 1;
                match.value = unit.value;
            }
        }
        return match;
    }

    // A step by itself: kNoNode where no key goes on so.
    uint32_t child(uint32_t node, uint8_t byte) const {
        const uint32_t next = units_[node].base + byte;
        return units_[next].parent == node ? next : kNoNode;
    }
    uint32_t value_of(uint32_t node) const { return units_[node].value; }
    size_t unit_count() const { return units_.size(); }  // every node is below it

  private:
    static constexpr uint32_t kNone = 0xffffffff;  // of the free units

    struct Unit {
        uint32_t base = 0;
        uint32_t parent = kNoNode;
        uint32_t value = kNoValue;
    };

    uint32_t find_base(std::span<const uint8_t> labels);
    void take_unit(uint32_t unit);
    void grow();

    std::vector<Unit> units_;
    // Free units, in a list each way; kept up to date while sets are added.
    std::vector<uint32_t> next_free_;
    std::vector<uint32_t> previous_free_;
    uint32_t first_free_ = kNone;
    uint32_t last_free_ = kNone;
    uint32_t last_used_ = 0;
};

}  // namespace nibblevec
