#include "tokenizer/bert_words.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <numeric>

#include "text/utf8.hpp"
#include "tokenizer/unicode.hpp"
#include "tokenizer/unicode_tables.hpp"

namespace nibblevec {

namespace {

using Role = NormalCharacter::Role;

constexpr size_t kMaxTextBytes = 7;
constexpr size_t kMaxTextCharacters = 4;

Role role_of(uint32_t code_point) {
    const uint8_t flags = unicode::properties_of(code_point).flags;
    if (flags & unicode::kWhitespace) return Role::whitespace;
    if (flags & unicode::kPunctuation) return Role::punctuation;
    return Role::word;
}

size_t text_bytes_of(uint64_t entry) { return entry >> 3 & 7; }
size_t text_characters_of(uint64_t entry) { return (entry >> 6 & 3) + 1; }

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

void append_utf8(uint32_t code_point, std::string& text) {
    uint8_t bytes[4];
    const size_t count = utf8::encode(code_point, bytes);
    text.append(reinterpret_cast<const char*>(bytes), count);
}

}  // namespace

BertWords::BertWords(const BertSettings& settings, size_t max_characters)
    : settings_(settings), max_characters_(max_characters) {
    // Most blocks lie in one run of properties, and hold what a block before them holds.
    block_of_.resize(unicode::kCodePoints / kBlockCodePoints);
    std::vector<uint64_t> block(kBlockCodePoints);
    std::vector<std::pair<uint64_t, uint16_t>> uniform;  // entry, block
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
        if (const uint64_t entry = make_entry(first); same && (entry & 7) != kSequence) {
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

bool BertWords::spaces_around(uint8_t flags) const {
    return settings_.handle_chinese_chars && (flags & unicode::kChinese);
}

// The definition that all entries follow, a code point at a time and in the normalizer's order.
std::vector<NormalCharacter> BertWords::characters_of(uint32_t code_point) const {
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
    const bool spaced = spaces_around(properties.flags);
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

uint64_t BertWords::make_entry(uint32_t code_point) {
    if (settings_.strip_accents && unicode::is_hangul_syllable(code_point)) return kHangul;
    std::vector<NormalCharacter> characters = characters_of(code_point);
    if (characters.empty()) return kDrop;

    const auto is_nothing = [](const NormalCharacter& c) { return c.role == Role::nothing; };
    if (std::ranges::all_of(characters, is_nothing)) return kBarrier;
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
        if (middle.size() == 1 && middle[0].role == Role::whitespace) return kSpace;
        if (alone || (all_word && !spaced && middle.size() <= kMaxTextCharacters)) {
            if (middle.size() == 1 && middle[0].code_point == code_point)
                return alone ? kAlone : kKeep;
            uint8_t text[4 * kMaxTextCharacters];
            size_t byte_count = 0;
            for (const NormalCharacter& each : middle)
                byte_count += utf8::encode(each.code_point, text + byte_count);
            if (byte_count <= kMaxTextBytes) {
                uint64_t entry = alone ? kAlone : kText;
                entry |= byte_count << 3 | (middle.size() - 1) << 6;
                for (size_t i = 0; i < byte_count; ++i) entry |= uint64_t{text[i]} << (8 + 8 * i);
                return entry;
            }
        }
    }
    const uint64_t entry =
        kSequence | uint64_t{sequences_.size()} << 8 | uint64_t{characters.size()} << 40;
    sequences_.insert(sequences_.end(), characters.begin(), characters.end());
    return entry;
}

void BertWords::normalize(std::string_view text, std::string& normal, Pulse& pulse) const {
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
        const uint64_t entry = entry_of(code_point);
        switch (static_cast<Kind>(entry & 7)) {
            case kDrop:
                break;
            case kBarrier:
                flush();
                break;
            case kKeep:
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

std::optional<uint32_t> BertWords::normal_end_of(uint32_t code_point) const {
    const std::vector<NormalCharacter> characters = characters_of(code_point);
    if (characters.empty() || characters.back().rank > 0) return std::nullopt;
    if (characters.back().role == Role::nothing) return std::nullopt;
    return characters.back().code_point;
}

BertWords::Reader::Reader(const BertWords& words, const Kernel& kernel, WordBuffer& buffer)
    : words_(words),
      kernel_(kernel),
      buffer_(buffer),
      word_begin_(WordBuffer::kWindowBytes + WordBuffer::kSlackBytes),
      end_(word_begin_) {
    if (buffer.bytes.size() < word_begin_ + WordBuffer::kSlackBytes)
        buffer.bytes.resize(2 * word_begin_);
    buffer.pending.clear();
}

void BertWords::Reader::feed(std::string_view piece, bool ends_text) {
    text_ = reinterpret_cast<const uint8_t*>(piece.data());
    count_ = 0;
    left_ = piece.size();
    ends_text_ = ends_text;
}

// All that is left, or a window that does not end within a character.
size_t BertWords::Reader::window_bytes() const {
    if (left_ <= WordBuffer::kWindowBytes) return left_;
    return utf8::character_begin(text_, WordBuffer::kWindowBytes);
}

bool BertWords::Reader::next() {
    buffer_.span_count = 0;
    text_ += count_;
    if (left_ == 0) {
        if (more_follows() || is_idle()) return false;
        count_ = 0;
        end_word();
        return true;
    }

    // A word that the last window left unfinished goes on at the front.
    constexpr size_t kFront = WordBuffer::kWindowBytes + WordBuffer::kSlackBytes;
    if (word_begin_ != kFront) {
        std::memmove(buffer_.bytes.data() + kFront, buffer_.bytes.data() + word_begin_,
                     end_ - word_begin_);
        end_ = kFront + (end_ - word_begin_);
        word_begin_ = kFront;
    }

    count_ = window_bytes();
    left_ -= count_;
    kernel_.scan_words(text_, count_, words_.settings_.lowercase, buffer_.masks,
                       buffer_.bytes.data());
    const size_t block_count = (count_ + 63) / 64;
    buffer_.masks[block_count] = {};
    // What comes next is no ASCII if a window ends within a block: no word ends there.
    if (more_follows() && count_ % 64 != 0)
        buffer_.masks[count_ / 64].other |= uint64_t{1} << count_ % 64;

    size_t position = is_idle() ? 0 : walk_characters(0);
    while (position < count_) position = walk_block(position / 64, position);
    if (!more_follows()) end_word();
    return true;
}

// Words of one block from `position` on; returns where to go on.
size_t BertWords::Reader::walk_block(size_t block, size_t position) {
    const WordMasks& mask = buffer_.masks[block];
    const uint64_t carry = block == 0 ? 0 : buffer_.masks[block - 1].word >> 63;
    // Letters just before `position` belong to no word that is still open.
    uint64_t starts = mask.word & ~(mask.word << 1 | carry);
    uint64_t events = (starts | mask.punctuation | mask.other) & ~uint64_t{0} << position % 64;
    const auto base = static_cast<uint32_t>(64 * block);

    std::vector<WordSpan>& spans = buffer_.spans;
    if (buffer_.span_count + 64 > spans.size()) spans.resize(2 * (buffer_.span_count + 64));
    WordSpan* span = spans.data() + buffer_.span_count;
    const auto keep_spans = [&] { buffer_.span_count = static_cast<size_t>(span - spans.data()); };

    while (events) {
        const auto bit = static_cast<uint32_t>(std::countr_zero(events));
        events &= events - 1;
        const uint64_t rest = ~(mask.word >> bit);
        const auto run = static_cast<uint32_t>(std::countr_zero(rest));  // 0 for punctuation
        const uint64_t after = mask.other >> bit;
        // An end within the block, and nothing unusual there: nearly always.
        if (bit + run < 64 && !(after >> run & 1)) {
            *span++ = {base + bit, run + (run == 0)};
            continue;
        }
        const size_t begin = base + bit;
        const size_t end = begin + (run == 0 ? 0 : word_run(begin));
        if (run > 0 && !(end < count_ ? is_other(end) : more_follows())) {
            *span++ = {base + bit, static_cast<uint32_t>(end - begin)};
            if (end >= base + 64) {
                keep_spans();
                return end;
            }
            continue;
        }
        keep_spans();
        return walk_characters(begin);
    }
    keep_spans();
    return 64 * (block + 1);
}

// How many letters and digits follow one another from `position` on, within the window.
size_t BertWords::Reader::word_run(size_t position) const {
    size_t block = position / 64;
    const size_t bit = position % 64;
    const auto first = static_cast<size_t>(std::countr_zero(~(buffer_.masks[block].word >> bit)));
    if (bit + first < 64) return first;
    size_t run = 64 - bit;
    for (;;) {  // the mask after the window's last is 0
        const auto more = static_cast<size_t>(std::countr_one(buffer_.masks[++block].word));
        run += more;
        if (more < 64) return run;
    }
}

// Puts words together from `position` on until one ends before something plain, or the window.
size_t BertWords::Reader::walk_characters(size_t position) {
    while (position < count_) {
        if (is_other(position)) {
            uint32_t code_point;
            const size_t byte_count = utf8::decode(text_ + position, code_point);
            take_character(text_ + position, byte_count, code_point);
            position += byte_count;
        } else if (is_word(position)) {
            const size_t run = word_run(position);
            if (is_idle()) {
                const size_t end = position + run;
                if (!(end < count_ ? is_other(end) : more_follows())) return position;
            }
            flush_pending();
            const size_t needed = std::min(run, words_.max_characters_ + 1);
            append(buffer_.bytes.data() + position, needed, needed);
            position += run;
        } else {
            end_word();
            return position;
        }
    }
    return position;
}

void BertWords::Reader::take_character(const uint8_t* text, size_t byte_count,
                                       uint32_t code_point) {
    const uint64_t entry = words_.entry_of(code_point);
    switch (static_cast<Kind>(entry & 7)) {
        case kDrop:
            return;
        case kBarrier:
            flush_pending();
            return;
        case kSpace:
            end_word();
            return;
        case kAlone: {
            end_word();
            const uint64_t bytes = entry >> 8;
            if (text_bytes_of(entry) == 0)
                add_alone(text, byte_count);
            else
                add_alone(reinterpret_cast<const uint8_t*>(&bytes), text_bytes_of(entry));
            return;
        }
        case kKeep:
            flush_pending();
            append(text, byte_count, 1);
            return;
        case kText: {
            flush_pending();
            const uint64_t bytes = entry >> 8;
            append(reinterpret_cast<const uint8_t*>(&bytes), text_bytes_of(entry),
                   text_characters_of(entry));
            return;
        }
        case kSequence: {
            const auto begin = static_cast<size_t>(entry >> 8 & 0xffffffff);
            const auto count = static_cast<size_t>(entry >> 40);
            for (size_t i = 0; i < count; ++i) take(words_.sequences_[begin + i]);
            return;
        }
        case kHangul: {
            flush_pending();
            uint32_t parts[3];
            const size_t count = unicode::decompose_hangul(code_point, parts);
            for (size_t i = 0; i < count; ++i) append_code_point(parts[i]);
            return;
        }
    }
}

void BertWords::Reader::take(NormalCharacter character) {
    if (character.rank > 0) {
        // All are parts of a word. One with more of them is too long in any order.
        if (buffer_.pending.size() <= words_.max_characters_) buffer_.pending.push_back(character);
        return;
    }
    flush_pending();
    switch (character.role) {
        case Role::word:
            append_code_point(character.code_point);
            return;
        case Role::punctuation: {
            end_word();
            uint8_t bytes[4];
            add_alone(bytes, utf8::encode(character.code_point, bytes));
            return;
        }
        case Role::whitespace:
            end_word();
            return;
        case Role::nothing:
            return;
    }
}

void BertWords::Reader::flush_pending() {
    if (buffer_.pending.empty()) return;
    std::vector<NormalCharacter> marks;
    marks.swap(buffer_.pending);
    Pulse pulse(nullptr);  // they are few
    sort_by_rank(marks, pulse);
    for (NormalCharacter& mark : marks) {
        mark.rank = 0;
        take(mark);
    }
    marks.clear();
    buffer_.pending.swap(marks);
}

// A word that is too long already needs no more than that.
void BertWords::Reader::append(const uint8_t* bytes, size_t byte_count, size_t characters) {
    if (word_characters_ > words_.max_characters_) return;
    word_characters_ += characters;
    const size_t needed = end_ + byte_count + WordBuffer::kSlackBytes;
    if (needed > buffer_.bytes.size()) {
        const bool is_own =
            bytes >= buffer_.bytes.data() && bytes < buffer_.bytes.data() + buffer_.bytes.size();
        const size_t offset = is_own ? static_cast<size_t>(bytes - buffer_.bytes.data()) : 0;
        buffer_.bytes.resize(2 * needed);
        if (is_own) bytes = buffer_.bytes.data() + offset;
    }
    std::memcpy(buffer_.bytes.data() + end_, bytes, byte_count);
    end_ += byte_count;
}

void BertWords::Reader::append_code_point(uint32_t code_point) {
    uint8_t bytes[4];
    append(bytes, utf8::encode(code_point, bytes), 1);
}

void BertWords::Reader::add_alone(const uint8_t* bytes, size_t byte_count) {
    append(bytes, byte_count, 1);
    end_word();
}

void BertWords::Reader::end_word() {
    flush_pending();
    if (word_characters_ == 0) return;
    if (buffer_.span_count == buffer_.spans.size())
        buffer_.spans.resize(2 * buffer_.span_count + 64);
    buffer_.spans[buffer_.span_count++] = {static_cast<uint32_t>(word_begin_),
                                           static_cast<uint32_t>(end_ - word_begin_)};
    word_begin_ = end_;
    word_characters_ = 0;
}

}  // namespace nibblevec
