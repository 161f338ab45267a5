#pragma once
// Text to bit masks, 64 bytes at a time: a tokenizer then walks set bits instead of bytes.
//
// Five comparisons with a range sort all of ASCII. Setting bit 5 takes capital letters to small
// ones and nothing else into their range. Bytes of 128 and more fall in no range: they are what
// remains, like control characters. A last block that is not whole is padded with zeros, which
// are control characters too, and its bits are cut off.

inline void scan_words(const uint8_t* text, size_t byte_count, bool lowercase, WordMasks* masks,
                       uint8_t* copy) noexcept {
    for (size_t begin = 0; begin < byte_count; begin += 64) {
        const size_t count = byte_count - begin < 64 ? byte_count - begin : 64;
        const TextBytes bytes = load_text(text + begin, count);
        const uint64_t inside = ~uint64_t{0} >> (64 - count);
        const uint64_t letters = mask_between(set_bit_5(bytes), 'a', 'z');
        const uint64_t word = letters | mask_between(bytes, '0', '9');
        const uint64_t visible = mask_between(bytes, '!', '~');
        const uint64_t space = mask_between(bytes, ' ', ' ') | mask_between(bytes, '\t', '\n') |
                               mask_between(bytes, '\r', '\r');
        masks->word = word;
        masks->punctuation = visible & ~word;
        masks->other = inside & ~(visible | space);
        ++masks;
        store_text(copy + begin, lowercase ? lower_ascii(bytes) : bytes);
    }
}
