#pragma once

#include <stddef.h>
#include <stdint.h>

#include <span>

// Properties and mappings of code points, out of the tables.
namespace nibblevec::unicode {

constexpr uint32_t kCodePoints = 0x110000;

struct Properties {
    uint8_t flags;  // of unicode_tables.hpp
    uint8_t rank;   // order of the canonical combining class; 0 is class 0
};

Properties properties_of(uint32_t code_point);

// The code points that one becomes; empty where it stays as it is.
std::span<const uint32_t> decomposition_of(uint32_t code_point);  // not of a Hangul syllable
std::span<const uint32_t> long_lower_of(uint32_t code_point);     // several code points
uint32_t lower_of(uint32_t code_point);                           // one code point

// Whether any from `first` to `last` has a decomposition or a lower case.
bool has_mapping(uint32_t first, uint32_t last);

constexpr bool is_hangul_syllable(uint32_t code_point) {
    return code_point >= 0xac00 && code_point < 0xac00 + 11172;
}
// Two or three code points: leading consonant, vowel, and a final consonant if there is one.
size_t decompose_hangul(uint32_t syllable, uint32_t parts[3]);

}  // namespace nibblevec::unicode
