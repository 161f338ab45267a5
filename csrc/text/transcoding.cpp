#include "text/transcoding.hpp"

#include <algorithm>
#include <cstring>
#include <string>

#include "text/utf8.hpp"

namespace nibblevec {

namespace {

// Characters that are looked at together, to see whether all are ASCII.
constexpr size_t kRun = 16;

// Both are a few vector instructions for the baseline CPU too.
template <typename Unit>
bool is_ascii_run(const Unit* units) {
    constexpr uint64_t kOnes = ~uint64_t{0} / static_cast<Unit>(~Unit{0});
    constexpr uint64_t kBeyondAscii = kOnes * static_cast<Unit>(~Unit{0x7f});
    uint64_t words[kRun * sizeof(Unit) / sizeof(uint64_t)];
    std::memcpy(words, units, sizeof words);
    uint64_t all = 0;
    for (const uint64_t word : words) all |= word;
    return (all & kBeyondAscii) == 0;
}

template <typename Unit>
void narrow_run(const Unit* units, uint8_t* out) {
    uint8_t bytes[kRun];
    for (size_t i = 0; i < kRun; ++i) bytes[i] = static_cast<uint8_t>(units[i]);
    std::memcpy(out, bytes, kRun);
}

// UTF-16 writes a character as a high surrogate and a low one, but a str holds characters.
template <typename Unit>
[[noreturn]] void fail_at_surrogate(const TextView& text, size_t i, size_t number) {
    const Unit* units = static_cast<const Unit*>(text.data);
    const auto is_in = [](uint32_t unit, uint32_t first) { return unit - first < 0x400; };
    const bool is_pair =
        is_in(units[i], 0xd800) && i + 1 < text.length && is_in(units[i + 1], 0xdc00);
    if (is_pair)
        throw InvalidText(number, "holds a surrogate pair at character", i,
                          "; errors='replace' makes it the character that it stands for");
    throw InvalidText(number, "holds a lone surrogate at character", i,
                      "; errors='replace' puts U+FFFD in its place");
}

// Transcodes `count` characters from `begin` on; returns the number of bytes.
template <typename Unit>
size_t transcode(const TextView& text, size_t begin, size_t count, size_t number, uint8_t* out) {
    const Unit* units = static_cast<const Unit*>(text.data) + begin;
    uint8_t* next = out;
    for (size_t i = 0; i < count;) {
        if (i + kRun <= count && is_ascii_run(units + i)) {
            narrow_run(units + i, next);
            next += kRun;
            i += kRun;
            continue;
        }
        for (const size_t end = std::min(i + kRun, count); i < end; ++i) {
            const uint32_t code_point = units[i];
            if constexpr (sizeof(Unit) > 1)
                if (code_point - 0xd800 < 0x800) fail_at_surrogate<Unit>(text, begin + i, number);
            next += utf8::encode(code_point, next);
        }
    }
    return static_cast<size_t>(next - out);
}

// The bytes that one unit of a text may take as UTF-8; a unit of `ucs1` is below U+0100.
size_t max_utf8_bytes(TextEncoding encoding) {
    switch (encoding) {
        case TextEncoding::utf8:
        case TextEncoding::unchecked_utf8:
            return 1;
        case TextEncoding::ucs1:
            return 2;
        case TextEncoding::ucs2:
            return 3;
        case TextEncoding::ucs4:
            break;
    }
    return utf8::kMaxBytes;
}

std::string_view as_text(const void* data, size_t byte_count) {
    return {static_cast<const char*>(data), byte_count};
}

}  // namespace

InvalidText::InvalidText(size_t number, const char* problem, size_t position, const char* advice)
    : std::invalid_argument("text " + std::to_string(number) + " " + problem + " " +
                            std::to_string(position) + advice),
      problem(problem),
      position(position) {}

void check_utf8(const TextView& text, size_t number) { check_utf8(text, 0, text.length, number); }

void check_utf8(const TextView& text, size_t begin, size_t count, size_t number) {
    const auto* bytes = static_cast<const uint8_t*>(text.data) + begin;
    const size_t valid = utf8::count_valid_bytes(bytes, count);
    if (valid < count) throw InvalidText(number, "is not UTF-8 at byte", begin + valid);
}

std::string_view utf8_of(const TextView& text, size_t number, std::vector<uint8_t>& buffer,
                         std::string_view prompt) {
    if (text.encoding == TextEncoding::unchecked_utf8) check_utf8(text, number);
    if (text.is_utf8() && prompt.empty()) return as_text(text.data, text.length);
    if (buffer.size() < prompt.size()) buffer.resize(prompt.size());
    std::ranges::copy(prompt, buffer.begin());
    const size_t used = append_utf8(text, 0, text.length, number, prompt.size(), buffer);
    return as_text(buffer.data(), used);
}

size_t append_utf8(const TextView& text, size_t begin, size_t count, size_t number, size_t used,
                   std::vector<uint8_t>& buffer) {
    const size_t most = used + count * max_utf8_bytes(text.encoding);
    if (buffer.size() < most) buffer.resize(most);
    uint8_t* out = buffer.data() + used;
    switch (text.encoding) {
        case TextEncoding::utf8:
        case TextEncoding::unchecked_utf8:
            std::copy_n(static_cast<const uint8_t*>(text.data) + begin, count, out);
            return used + count;
        case TextEncoding::ucs1:
            return used + transcode<uint8_t>(text, begin, count, number, out);
        case TextEncoding::ucs2:
            return used + transcode<uint16_t>(text, begin, count, number, out);
        case TextEncoding::ucs4:
            break;
    }
    return used + transcode<uint32_t>(text, begin, count, number, out);
}

}  // namespace nibblevec
