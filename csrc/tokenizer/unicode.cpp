#include "tokenizer/unicode.hpp"

#include <algorithm>
#include <cstring>
#include <iterator>

#include "tokenizer/unicode_tables.hpp"

namespace nibblevec::unicode {

namespace {

std::span<const uint32_t> expansion_of(std::span<const Expansion> expansions, const uint32_t* pool,
                                       uint32_t code_point) {
    const auto found = std::ranges::lower_bound(expansions, code_point, {}, &Expansion::code_point);
    if (found == expansions.end() || found->code_point != code_point) return {};
    return {pool + found->begin, found->count};
}

}  // namespace

Properties properties_of(uint32_t code_point) {
    const auto after = std::ranges::upper_bound(kPropertyRuns, code_point, {}, &PropertyRun::first);
    return {std::prev(after)->flags, std::prev(after)->rank};
}

std::span<const uint32_t> decomposition_of(uint32_t code_point) {
    return expansion_of(kDecompositions, kDecompositionPool, code_point);
}

std::span<const uint32_t> long_lower_of(uint32_t code_point) {
    return expansion_of(kLowerExpansions, kLowerPool, code_point);
}

uint32_t lower_of(uint32_t code_point) {
    const auto run = std::ranges::lower_bound(kLowerRuns, code_point, {}, &LowerRun::last);
    if (run == std::end(kLowerRuns) || code_point < run->first ||
        (code_point - run->first) % run->step != 0)
        return code_point;
    return code_point + static_cast<uint32_t>(run->delta);
}

bool has_mapping(uint32_t first, uint32_t last) {
    const auto expands = [&](std::span<const Expansion> expansions) {
        const auto found = std::ranges::lower_bound(expansions, first, {}, &Expansion::code_point);
        return found != expansions.end() && found->code_point <= last;
    };
    const auto run = std::ranges::lower_bound(kLowerRuns, first, {}, &LowerRun::last);
    const bool lowers = run != std::end(kLowerRuns) && run->first <= last;
    return lowers || expands(kLowerExpansions) || expands(kDecompositions);
}

size_t decompose_hangul(uint32_t syllable, uint32_t parts[3]) {
    constexpr uint32_t kVowels = 21, kTails = 28;
    const uint32_t index = syllable - 0xac00;
    parts[0] = 0x1100 + index / (kVowels * kTails);
    parts[1] = 0x1161 + index % (kVowels * kTails) / kTails;
    parts[2] = 0x11a7 + index % kTails;
    return index % kTails == 0 ? 2 : 3;
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
        // Of the second byte: no character longer than need be, no surrogate, none beyond U+10FFFF.
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

}  // namespace nibblevec::unicode
