#include "text/utf8.hpp"

#include <cstring>

namespace nibblevec::utf8 {

size_t bytes_of_characters(const uint8_t* text, size_t byte_count, size_t characters) {
    constexpr size_t kStep = 64;
    size_t i = 0;
    size_t left = characters;
    while (left >= kStep && byte_count - i >= kStep) {  // a step holds no more characters than that
        left -= count_characters(text + i, kStep);
        i += kStep;
    }
    for (; i < byte_count; ++i) {
        if (is_continuation(text[i])) continue;
        if (left == 0) break;
        --left;
    }
    return i;
}

size_t count_valid_bytes(const uint8_t* text, size_t byte_count) {
    size_t i = 0;
    while (i < byte_count) {
        uint64_t eight;
        if (byte_count - i >= sizeof eight) {
            std::memcpy(&eight, text + i, sizeof eight);
            if ((eight & 0x8080808080808080) == 0) {  // ASCII
                i += sizeof eight;
                continue;
            }
        }
        const uint32_t lead = text[i];
        if (lead < 0x80) {
            ++i;
            continue;
        }
        // Bounds of the second byte: they exclude characters longer than need be, surrogates, and
        // code points beyond U+10FFFF.
        uint8_t least = 0x80, most = 0xbf;
        size_t tail;
        if (lead >= 0xc2 && lead < 0xe0) {
            tail = 1;
        } else if (lead >= 0xe0 && lead < 0xf0) {
            tail = 2;
            if (lead == 0xe0) least = 0xa0;
            if (lead == 0xed) most = 0x9f;
        } else if (lead >= 0xf0 && lead < 0xf5) {
            tail = 3;
            if (lead == 0xf0) least = 0x90;
            if (lead == 0xf4) most = 0x8f;
        } else {
            return i;
        }
        if (byte_count - i <= tail || text[i + 1] < least || text[i + 1] > most) return i;
        for (size_t k = 2; k <= tail; ++k)
            if (!is_continuation(text[i + k])) return i;
        i += 1 + tail;
    }
    return byte_count;
}

}  // namespace nibblevec::utf8
