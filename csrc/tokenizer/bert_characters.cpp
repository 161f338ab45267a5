#include "tokenizer/bert_characters.hpp"

#include <algorithm>
#include <array>
#include <iterator>
#include <numeric>
#include <utility>

#include "text/utf8.hpp"
#include "tokenizer/unicode.hpp"
#include "tokenizer/unicode_tables.hpp"

namespace nibblevec {

namespace {

using Action = CharacterEntry::Action;
using Role = NormalCharacter::Role;

Role role_of(uint32_t code_point) {
    const uint8_t flags = unicode::properties_of(code_point).flags;
    if (flags & unicode::kWhitespace) return Role::whitespace;
    if (flags & unicode::kPunctuation) return Role::punctuation;
    return Role::word;
}

void append_utf8(uint32_t code_point, std::string& text) {
    uint8_t bytes[utf8::kMaxBytes];
    const size_t count = utf8::encode(code_point, bytes);
    text.append(reinterpret_cast<const char*>(bytes), count);
}

}  // namespace

// By counting, where there are many: in proportion to the marks.
void sort_by_rank(std::vector<NormalCharacter>& marks, Pulse& pulse) {
    constexpr size_t kRanks = 256;
    if (marks.size() <= kRanks) {
        std::ranges::stable_sort(marks, {}, &NormalCharacter::rank);
        return;
    }
    std::array<size_t, kRanks + 1> next{};
    for (const NormalCharacter& mark : marks) {
        ++next[mark.rank + 1u];
        if (!pulse.beat(1)) return;
    }
    std::partial_sum(next.begin(), next.end(), next.begin());
    std::vector<NormalCharacter> sorted(marks.size());
    for (const NormalCharacter& mark : marks) {
        sorted[next[mark.rank]++] = mark;
        if (!pulse.beat(1)) return;
    }
    marks.swap(sorted);
}

BertCharacters::BertCharacters(const BertSettings& settings) : settings_(settings) {
    // Most blocks lie in one run of properties, and hold what a block before them holds.
    block_of_.resize(unicode::kCodePoints / kBlockCodePoints);
    std::vector<CharacterEntry> block(kBlockCodePoints);
    std::vector<std::pair<CharacterEntry, uint16_t>> uniform;  // entry, block
    const auto& runs = unicode::kPropertyRuns;
    size_t run = 0;
    for (size_t number = 0; number < block_of_.size(); ++number) {
        const auto first = static_cast<uint32_t>(number * kBlockCodePoints);
        const uint32_t last = first + kBlockCodePoints - 1;
        while (run + 1 < std::size(runs) && runs[run + 1].first <= first) ++run;
        const bool one_run = run + 1 == std::size(runs) || runs[run + 1].first > last;
        const bool changes = unicode::has_mapping(first, last);
        const bool same = (one_run && !changes) ||
                          (unicode::is_hangul_syllable(first) && unicode::is_hangul_syllable(last));
        if (const CharacterEntry entry = make_entry(first);
            same && entry.action() != Action::sequence) {
            const auto known =
                std::ranges::find(uniform, entry, &decltype(uniform)::value_type::first);
            if (known != uniform.end()) {
                block_of_[number] = known->second;
                continue;
            }
            std::ranges::fill(block, entry);
            uniform.emplace_back(entry, static_cast<uint16_t>(blocks_.size() / kBlockCodePoints));
        } else {
            for (uint32_t i = 0; i < kBlockCodePoints; ++i) block[i] = make_entry(first + i);
        }
        block_of_[number] = static_cast<uint16_t>(blocks_.size() / kBlockCodePoints);
        blocks_.insert(blocks_.end(), block.begin(), block.end());
    }
}

// The definition that all entries follow, a code point at a time and in the normalizer's order.
std::vector<NormalCharacter> BertCharacters::characters_of(uint32_t code_point) const {
    const unicode::Properties properties = unicode::properties_of(code_point);
    if (settings_.clean_text) {
        if (properties.flags & unicode::kDropped) return {};
        if (properties.flags & unicode::kWhitespace) return {{' ', 0, Role::whitespace}};
    }
    std::vector<uint32_t> parts{code_point};
    if (settings_.strip_accents) {
        uint32_t syllable[3];
        if (unicode::is_hangul_syllable(code_point)) {
            parts.assign(syllable, syllable + unicode::decompose_hangul(code_point, syllable));
        } else if (const auto found = unicode::decomposition_of(code_point); !found.empty()) {
            parts.assign(found.begin(), found.end());
        }
    }
    std::vector<NormalCharacter> characters;
    const bool spaced =
        settings_.handle_chinese_chars && (properties.flags & unicode::kChinese) != 0;
    if (spaced) characters.push_back({' ', 0, Role::whitespace});
    for (const uint32_t part : parts) {
        uint8_t rank = 0;
        if (settings_.strip_accents) {
            const unicode::Properties mark = unicode::properties_of(part);
            rank = mark.rank;
            if (mark.flags & unicode::kRemovedMark) {
                if (rank == 0) characters.push_back({part, 0, Role::nothing});
                continue;
            }
        }
        if (!settings_.lowercase) {
            characters.push_back({part, rank, role_of(part)});
        } else if (const auto lower = unicode::long_lower_of(part); !lower.empty()) {
            for (const uint32_t each : lower) characters.push_back({each, rank, role_of(each)});
        } else {
            const uint32_t each = unicode::lower_of(part);
            characters.push_back({each, rank, role_of(each)});
        }
    }
    if (spaced) characters.push_back({' ', 0, Role::whitespace});
    return characters;
}

CharacterEntry BertCharacters::make_entry(uint32_t code_point) {
    if (settings_.strip_accents && unicode::is_hangul_syllable(code_point))
        return CharacterEntry(Action::hangul);
    std::vector<NormalCharacter> characters = characters_of(code_point);
    if (characters.empty()) return CharacterEntry(Action::drop);

    const auto is_nothing = [](const NormalCharacter& c) { return c.role == Role::nothing; };
    if (std::ranges::all_of(characters, is_nothing)) return CharacterEntry(Action::barrier);
    const bool in_place =
        std::ranges::all_of(characters, [](const NormalCharacter& c) { return c.rank == 0; });
    if (in_place) {
        std::erase_if(characters, is_nothing);  // any other character stops marks too
        const bool spaced = characters.size() == 3 && characters[0].role == Role::whitespace &&
                            characters[2].role == Role::whitespace;
        const auto middle =
            std::span(characters).subspan(spaced ? 1 : 0, spaced ? 1 : characters.size());
        const bool all_word = std::ranges::all_of(
            middle, [](const NormalCharacter& c) { return c.role == Role::word; });
        const bool alone =
            middle.size() == 1 && (middle[0].role == Role::punctuation || (spaced && all_word));
        if (middle.size() == 1 && middle[0].role == Role::whitespace)
            return CharacterEntry(Action::space);
        if (alone || (all_word && !spaced && middle.size() <= CharacterEntry::kMaxTextCharacters)) {
            if (middle.size() == 1 && middle[0].code_point == code_point)
                return CharacterEntry(alone ? Action::alone : Action::keep);
            uint8_t text[utf8::kMaxBytes * CharacterEntry::kMaxTextCharacters];
            size_t byte_count = 0;
            for (const NormalCharacter& each : middle)
                byte_count += utf8::encode(each.code_point, text + byte_count);
            if (byte_count <= CharacterEntry::kMaxTextBytes)
                return CharacterEntry::of_text(alone ? Action::alone : Action::text,
                                               std::span(text, byte_count), middle.size());
        }
    }
    const CharacterEntry entry = CharacterEntry::of_sequence(sequences_.size(), characters.size());
    sequences_.insert(sequences_.end(), characters.begin(), characters.end());
    return entry;
}

void BertCharacters::normalize(std::string_view text, std::string& normal, Pulse& pulse) const {
    std::vector<NormalCharacter> pending;
    const auto flush = [&] {
        if (pending.empty()) return;
        sort_by_rank(pending, pulse);
        for (const NormalCharacter& mark : pending) {
            append_utf8(mark.code_point, normal);
            if (!pulse.beat(1)) return;
        }
        pending.clear();
    };
    const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
    for (size_t position = 0; position < text.size();) {
        uint32_t code_point;
        const size_t byte_count = utf8::decode(bytes + position, code_point);
        if (!pulse.beat(byte_count)) return;
        switch (entry_of(code_point).action()) {
            case Action::drop:
                break;
            case Action::barrier:
                flush();
                break;
            case Action::keep:
                flush();
                normal.append(text, position, byte_count);
                break;
            default:
                for (const NormalCharacter& character : characters_of(code_point)) {
                    if (character.rank > 0) {
                        pending.push_back(character);
                        continue;
                    }
                    flush();
                    if (character.role != Role::nothing) append_utf8(character.code_point, normal);
                }
        }
        position += byte_count;
    }
    flush();
}

std::optional<uint32_t> BertCharacters::normal_end_of(uint32_t code_point) const {
    const std::vector<NormalCharacter> characters = characters_of(code_point);
    if (characters.empty() || characters.back().rank > 0) return std::nullopt;
    if (characters.back().role == Role::nothing) return std::nullopt;
    return characters.back().code_point;
}

}  // namespace nibblevec
