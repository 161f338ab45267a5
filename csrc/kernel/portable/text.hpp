#pragma once
// Text, 64 bytes at a time: eight bytes in a word of 64 bits, in which sums of 7-bit numbers do not
// carry into the next byte.
struct TextBytes {
    uint64_t word[8];
};
constexpr uint64_t kEachByte = 0x0101010101010101;
// The first `count` bytes, 1 to 64, then zeros. Nothing past them is read.
inline TextBytes load_text(const uint8_t* text, size_t count) noexcept {
    TextBytes bytes = {};
    memcpy(bytes.word, text, count);
    return bytes;
}
inline void store_text(uint8_t* text, const TextBytes& bytes) noexcept {
    memcpy(text, bytes.word, sizeof bytes);
}
// Bit 7 of each byte: first <= byte <= last, which are ASCII.
inline uint64_t high_bits_between(uint64_t bytes, char first, char last) noexcept {
    const uint64_t low = bytes & 0x7f * kEachByte;
    const uint64_t reaches_first = low + (0x80 - static_cast<uint64_t>(first)) * kEachByte;
    const uint64_t passes_last = low + (0x7f - static_cast<uint64_t>(last)) * kEachByte;
    return reaches_first & ~passes_last & ~bytes & 0x80 * kEachByte;
}
// A bit for each byte: first <= byte <= last.
inline uint64_t mask_between(const TextBytes& bytes, char first, char last) noexcept {
    uint64_t mask = 0;
    for (size_t i = 0; i < 8; ++i) {
        const uint64_t bits = high_bits_between(bytes.word[i], first, last) >> 7;
        mask |= (bits * 0x0102040810204080 >> 56) << 8 * i;  // gathers eight bits in the top byte
    }
    return mask;
}
inline TextBytes set_bit_5(TextBytes bytes) noexcept {
    for (uint64_t& word : bytes.word) word |= 0x20 * kEachByte;
    return bytes;
}
inline TextBytes lower_ascii(TextBytes bytes) noexcept {
    for (uint64_t& word : bytes.word) word |= high_bits_between(word, 'A', 'Z') >> 2;
    return bytes;
}
