#pragma once
// Text, 64 bytes at a time.
struct TextBytes {
    uint8x16_t quarter[4];
};
// The first `count` bytes, 1 to 64, then zeros. Nothing past them is read.
inline TextBytes load_text(const uint8_t* text, size_t count) noexcept {
    uint8_t padded[64];
    if (count < 64) {
        memset(padded, 0, sizeof padded);
        memcpy(padded, text, count);
        text = padded;
    }
    return {{vld1q_u8(text), vld1q_u8(text + 16), vld1q_u8(text + 32), vld1q_u8(text + 48)}};
}
inline void store_text(uint8_t* text, const TextBytes& bytes) noexcept {
    for (size_t i = 0; i < 4; ++i) vst1q_u8(text + 16 * i, bytes.quarter[i]);
}
// 0xff where first <= byte <= last.
inline uint8x16_t bytes_between(uint8x16_t bytes, char first, char last) noexcept {
    return vcleq_u8(vsubq_u8(bytes, vdupq_n_u8(static_cast<uint8_t>(first))),
                    vdupq_n_u8(static_cast<uint8_t>(last - first)));
}
// A bit for each byte: first <= byte <= last. There is no movemask: each byte keeps the bit of its
// place among eight, and three pairwise additions gather them.
inline uint64_t mask_between(const TextBytes& bytes, char first, char last) noexcept {
    const uint8x16_t places = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201));
    uint8x16_t bits[4];
    for (size_t i = 0; i < 4; ++i)
        bits[i] = vandq_u8(bytes_between(bytes.quarter[i], first, last), places);
    const uint8x16_t halves = vpaddq_u8(vpaddq_u8(bits[0], bits[1]), vpaddq_u8(bits[2], bits[3]));
    return vgetq_lane_u64(vreinterpretq_u64_u8(vpaddq_u8(halves, halves)), 0);
}
inline TextBytes set_bit_5(TextBytes bytes) noexcept {
    for (uint8x16_t& quarter : bytes.quarter) quarter = vorrq_u8(quarter, vdupq_n_u8(0x20));
    return bytes;
}
inline TextBytes lower_ascii(TextBytes bytes) noexcept {
    for (uint8x16_t& quarter : bytes.quarter)
        quarter = vorrq_u8(quarter, vandq_u8(bytes_between(quarter, 'A', 'Z'), vdupq_n_u8(0x20)));
    return bytes;
}
