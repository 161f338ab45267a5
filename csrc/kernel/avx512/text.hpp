#pragma once
// Text, 64 bytes at a time.
using TextBytes = __m512i;
// The first `count` bytes, 1 to 64, then zeros. Nothing past them is read.
inline TextBytes load_text(const uint8_t* text, size_t count) noexcept {
    return _mm512_maskz_loadu_epi8(~uint64_t{0} >> (64 - count), text);
}
inline void store_text(uint8_t* text, TextBytes bytes) noexcept {
    _mm512_storeu_si512(text, bytes);
}
// A bit for each byte: first <= byte <= last.
inline uint64_t mask_between(TextBytes bytes, char first, char last) noexcept {
    const __m512i above = _mm512_sub_epi8(bytes, _mm512_set1_epi8(first));
    return _mm512_cmple_epu8_mask(above, _mm512_set1_epi8(static_cast<char>(last - first)));
}
inline TextBytes set_bit_5(TextBytes bytes) noexcept {
    return _mm512_or_si512(bytes, _mm512_set1_epi8(0x20));
}
inline TextBytes lower_ascii(TextBytes bytes) noexcept {
    return _mm512_mask_add_epi8(bytes, mask_between(bytes, 'A', 'Z'), bytes,
                                _mm512_set1_epi8(0x20));
}
