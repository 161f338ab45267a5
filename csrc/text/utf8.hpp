#pragma once

#include <stddef.h>
#include <stdint.h>

// UTF-8: the bytes of a character, and walks over them.
namespace nibblevec::utf8 {

constexpr size_t kMaxBytes = 4;  // of a character

// `decode` reads valid text only. Both return the number of bytes.
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

// Whether a character does not begin with this byte, but goes on.
inline bool is_continuation(uint8_t byte) { return (byte & 0xc0) == 0x80; }

// Where the character begins that the byte at `position` is of; the text itself may begin within
// one, and then that is 0.
inline size_t character_begin(const uint8_t* text, size_t position) {
    while (position > 0 && is_continuation(text[position])) --position;
    return position;
}

inline size_t count_characters(const uint8_t* text, size_t byte_count) {
    size_t count = 0;
    for (size_t i = 0; i < byte_count; ++i) count += !is_continuation(text[i]);
    return count;
}

// The bytes of the first characters of a valid text; all if it has no more.
size_t bytes_of_characters(const uint8_t* text, size_t byte_count, size_t characters);

// The bytes of any text before the first that is not UTF-8; all if it is.
size_t count_valid_bytes(const uint8_t* text, size_t byte_count);

}  // namespace nibblevec::utf8
