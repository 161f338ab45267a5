#include "tokenizer/unicode.hpp"

#include <algorithm>
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

}  // namespace nibblevec::unicode
