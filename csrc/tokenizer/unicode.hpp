#pragma once

#include <stddef.h>
#include <stdint.h>

#include <span>
#include <string_view>

namespace nibblevec::unicode {

constexpr uint32_t kCodePoints = 0x110000;
constexpr size_t kMaxBytes = 4;  // of a character in UTF-8

struct Properties {
    uint8_t flags;  // of unicode_tables.hpp
    uint8_t rank;   // order of the canonical combining class; 0 is class 0
};

Properties properties_of(uint32_t code_point);

// What a code point becomes; empty where it stays what it is.
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

// UTF-8. Both take valid text only; `decode` returns the number of bytes, so does `encode`.
inline size_t decode(const uint8_t* text, uint32_t& code_point) {
    const uint32_t lead = text[0];
    if (lead < 0x80) {
        code_point = lead;
        return 1;
    }
    const auto next = [&](size_t i) { return uint32_t{text[i]} & 0x3f; };
    if (lead < 0xe0) {
        code_point = (lead & 0x1f) << 6 | next(1);
        return 2;
    }
    if (lead < 0xf0) {
        code_point = (lead & 0x0f) << 12 | next(1) << 6 | next(2);
        return 3;
    }
    code_point = (lead & 0x07) << 18 | next(1) << 12 | next(2) << 6 | next(3);
    return 4;
}

inline size_t encode(uint32_t code_point, uint8_t* text) {
    const auto tail = [&](int shift) {
        return static_cast<uint8_t>(0x80 | (code_point >> shift & 0x3f));
    };
    if (code_point < 0x80) {
        text[0] = static_cast<uint8_t>(code_point);
        return 1;
    }
    if (code_point < 0x800) {
        text[0] = static_cast<uint8_t>(0xc0 | code_point >> 6);
        text[1] = tail(0);
        return 2;
    }
    if (code_point < 0x10000) {
        text[0] = static_cast<uint8_t>(0xe0 | code_point >> 12);
        text[1] = tail(6);
        text[2] = tail(0);
        return 3;
    }
    text[0] = static_cast<uint8_t>(0xf0 | code_point >> 18);
    text[1] = tail(12);
    text[2] = tail(6);
    text[3] = tail(0);
    return 4;
}

// How many bytes of a text come before the first that is not UTF-8; all if it is.
size_t count_valid_bytes(const uint8_t* text, size_t byte_count);

// How many bytes the first characters of a text take; all if it has no more.
size_t bytes_of_characters(const uint8_t* text, size_t byte_count, size_t characters);

inline bool is_continuation(uint8_t byte) { return (byte & 0xc0) == 0x80; }

inline size_t count_characters(const uint8_t* text, size_t byte_count) {
    size_t count = 0;
    for (size_t i = 0; i < byte_count; ++i) count += !is_continuation(text[i]);
    return count;
}

}  // namespace nibblevec::unicode
