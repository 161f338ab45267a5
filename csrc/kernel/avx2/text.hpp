#pragma once
// Text, 64 bytes at a time.
struct TextBytes {
    __m256i half[2];
};
// The first `count` bytes, 1 to 64, then zeros. Nothing past them is read.
inline TextBytes load_text(const uint8_t* text, size_t count) noexcept {
    alignas(32) uint8_t padded[64];
    if (count < 64) {
        memset(padded, 0, sizeof padded);
        memcpy(padded, text, count);
        text = padded;
    }
    return {{_mm256_loadu_si256(reinterpret_cast<const __m256i*>(text)),
             _mm256_loadu_si256(reinterpret_cast<const __m256i*>(text + 32))}};
}
inline void store_text(uint8_t* text, const TextBytes& bytes) noexcept {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(text), bytes.half[0]);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(text + 32), bytes.half[1]);
}
// 0xff where first <= byte <= last: there the distance from `first`, unsigned, is not cut by min.
inline __m256i bytes_between(__m256i bytes, char first, char last) noexcept {
    const __m256i above = _mm256_sub_epi8(bytes, _mm256_set1_epi8(first));
    const __m256i span = _mm256_set1_epi8(static_cast<char>(last - first));
    return _mm256_cmpeq_epi8(_mm256_min_epu8(above, span), above);
}
// A bit for each byte: first <= byte <= last.
inline uint64_t mask_between(const TextBytes& bytes, char first, char last) noexcept {
    const auto low =
        static_cast<uint32_t>(_mm256_movemask_epi8(bytes_between(bytes.half[0], first, last)));
    const auto high =
        static_cast<uint32_t>(_mm256_movemask_epi8(bytes_between(bytes.half[1], first, last)));
    return uint64_t{high} << 32 | low;
}
inline TextBytes set_bit_5(const TextBytes& bytes) noexcept {
    const __m256i bit = _mm256_set1_epi8(0x20);
    return {{_mm256_or_si256(bytes.half[0], bit), _mm256_or_si256(bytes.half[1], bit)}};
}
inline TextBytes lower_ascii(const TextBytes& bytes) noexcept {
    const __m256i bit = _mm256_set1_epi8(0x20);
    TextBytes lower;
    for (size_t i = 0; i < 2; ++i)
        lower.half[i] = _mm256_or_si256(
            bytes.half[i], _mm256_and_si256(bytes_between(bytes.half[i], 'A', 'Z'), bit));
    return lower;
}
