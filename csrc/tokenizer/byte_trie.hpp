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

    struct Key {
        std::string_view bytes;
        uint32_t value;
    };
    struct Match {
        size_t byte_count;  // 0: none
        uint32_t value;
    };

    // Adds a set and returns its root. Keys are not empty and not repeated.
    uint32_t add(std::vector<Key> keys);

    // The longest key of the set that `text` begins with.
    Match longest_match(uint32_t root, const uint8_t* text, size_t byte_count) const {
        Match match{0, kNoValue};
        uint32_t node = root;
        for (size_t i = 0; i < byte_count; ++i) {
            const uint32_t next = units_[node].base + text[i];
            const Unit& unit = units_[next];
            if (unit.parent != node) break;
            node = next;
            if (unit.value != kNoValue) match = {i + 1, unit.value};
        }
        return match;
    }

  private:
    static constexpr uint32_t kNone = 0xffffffff;

    struct Unit {
        uint32_t base = 0;
        uint32_t parent = kNone;
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
