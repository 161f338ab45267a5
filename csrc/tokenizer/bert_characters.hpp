#pragma once

#include <stddef.h>
#include <stdint.h>

#include <bit>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "tokenizer/pulse.hpp"

namespace nibblevec {

// The switches of Hugging Face's BertNormalizer.
struct BertSettings {
    bool clean_text;
    bool handle_chinese_chars;
    bool strip_accents;
    bool lowercase;
};

// A character of normalised text, on its way to its place.
struct NormalCharacter {
    enum class Role : uint8_t { word, punctuation, whitespace, nothing };
    uint32_t code_point;
    uint8_t rank;  // order of the combining class; 0 keeps its place
    Role role;     // nothing: a removed mark of class 0, which marks do not pass
};

// Puts marks in the order of their ranks; ends early when the pulse says stop.
void sort_by_rank(std::vector<NormalCharacter>& marks, Pulse& pulse);

// The action for a code point, and its text, in 64 bits, so that a character takes one load:
//   bits 0 to 2    the action
//   of a text      bits 3 to 5 its bytes, bits 6 and 7 its characters - 1, bits 8 to 63 the text,
//                  the first byte lowest
//   of a sequence  bits 8 to 39 its begin in the table's sequences, bits 40 to 63 its length
class CharacterEntry {
  public:
    enum class Action : uint8_t {
        drop,      // nothing
        barrier,   // nothing, but marks do not pass it
        space,     // ends the word
        alone,     // a word by itself: the text, or the character as it is where that is empty
        keep,      // part of a word as it is
        text,      // part of a word: the text
        sequence,  // characters of several roles or ranks
        hangul,    // a syllable that is decomposed
    };

    static constexpr size_t kMaxTextBytes = 7;
    static constexpr size_t kMaxTextCharacters = 4;

    constexpr CharacterEntry() = default;
    constexpr explicit CharacterEntry(Action action) : bits_(static_cast<uint64_t>(action)) {}

    static constexpr CharacterEntry of_text(Action action, std::span<const uint8_t> text,
                                            size_t characters) {
        CharacterEntry entry(action);
        entry.bits_ |= uint64_t{text.size()} << 3 | uint64_t{characters - 1} << 6;
        for (size_t i = 0; i < text.size(); ++i) entry.bits_ |= uint64_t{text[i]} << (8 + 8 * i);
        return entry;
    }
    static constexpr CharacterEntry of_sequence(size_t begin, size_t count) {
        CharacterEntry entry(Action::sequence);
        entry.bits_ |= uint64_t{begin} << 8 | uint64_t{count} << 40;
        return entry;
    }

    constexpr Action action() const { return static_cast<Action>(bits_ & 7); }
    constexpr size_t text_bytes() const { return bits_ >> 3 & 7; }
    constexpr size_t text_characters() const { return (bits_ >> 6 & 3) + 1; }
    constexpr uint64_t text() const { return bits_ >> 8; }
    constexpr size_t sequence_begin() const { return bits_ >> 8 & 0xffffffff; }
    constexpr size_t sequence_count() const { return bits_ >> 40; }

    constexpr bool operator==(const CharacterEntry&) const = default;

  private:
    uint64_t bits_ = 0;
};
static_assert(sizeof(CharacterEntry) == 8 && std::is_trivially_copyable_v<CharacterEntry>);
static_assert(std::bit_cast<uint64_t>(CharacterEntry(CharacterEntry::Action::hangul)) == 7);
static_assert(std::bit_cast<uint64_t>(CharacterEntry::of_sequence(0x01234567, 0x89)) ==
              0x0000'8901'2345'6706);
static_assert([] {
    constexpr uint8_t kText[] = {'s', 's'};
    return std::bit_cast<uint64_t>(CharacterEntry::of_text(CharacterEntry::Action::text, kText, 2));
}() == 0x7373'55);

// A table of each code point's entry: the work of BertNormalizer and BertPreTokenizer under the
// settings. Immutable.
class BertCharacters {
  public:
    explicit BertCharacters(const BertSettings& settings);

    const BertSettings& settings() const { return settings_; }

    CharacterEntry entry_of(uint32_t code_point) const {
        return blocks_[block_of_[code_point / kBlockCodePoints] * kBlockCodePoints +
                       code_point % kBlockCodePoints];
    }
    std::span<const NormalCharacter> sequence_of(CharacterEntry entry) const {
        return {sequences_.data() + entry.sequence_begin(), entry.sequence_count()};
    }

    // Appends the normalised text of valid UTF-8; not all of it once the pulse says stop.
    void normalize(std::string_view text, std::string& normal, Pulse& pulse) const;

    // The last character of a normalised code point, where nothing that comes later moves it.
    std::optional<uint32_t> normal_end_of(uint32_t code_point) const;

  private:
    static constexpr size_t kBlockCodePoints = 128;

    CharacterEntry make_entry(uint32_t code_point);
    std::vector<NormalCharacter> characters_of(uint32_t code_point) const;

    BertSettings settings_;
    std::vector<uint16_t> block_of_;
    std::vector<CharacterEntry> blocks_;
    std::vector<NormalCharacter> sequences_;
};

}  // namespace nibblevec
