#include "tokenizer/bert_word_reader.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "kernel/kernel.hpp"
#include "text/utf8.hpp"
#include "tokenizer/unicode.hpp"

namespace nibblevec {

namespace {

using Action = CharacterEntry::Action;
using Role = NormalCharacter::Role;

}  // namespace

BertWordReader::BertWordReader(const BertCharacters& characters, size_t max_characters,
                               const Kernel& kernel, BertWordBuffer& buffer)
    : characters_(characters),
      max_characters_(max_characters),
      kernel_(kernel),
      buffer_(buffer),
      word_begin_(BertWordBuffer::kWindowBytes + BertWordBuffer::kSlackBytes),
      end_(word_begin_) {
    if (buffer.bytes.size() < word_begin_ + BertWordBuffer::kSlackBytes)
        buffer.bytes.resize(2 * word_begin_);
    buffer.pending.clear();
}

void BertWordReader::feed(std::string_view piece, bool ends_text) {
    text_ = reinterpret_cast<const uint8_t*>(piece.data());
    count_ = 0;
    left_ = piece.size();
    ends_text_ = ends_text;
}

// All that is left, or a window that does not end within a character.
size_t BertWordReader::window_bytes() const {
    if (left_ <= BertWordBuffer::kWindowBytes) return left_;
    return utf8::character_begin(text_, BertWordBuffer::kWindowBytes);
}

bool BertWordReader::next() {
    buffer_.span_count = 0;
    text_ += count_;
    if (left_ == 0) {
        if (more_follows() || is_idle()) return false;
        count_ = 0;
        end_word();
        return true;
    }

    // A word that the last window left unfinished goes on at the front.
    constexpr size_t kFront = BertWordBuffer::kWindowBytes + BertWordBuffer::kSlackBytes;
    if (word_begin_ != kFront) {
        std::memmove(buffer_.bytes.data() + kFront, buffer_.bytes.data() + word_begin_,
                     end_ - word_begin_);
        end_ = kFront + (end_ - word_begin_);
        word_begin_ = kFront;
    }

    count_ = window_bytes();
    left_ -= count_;
    kernel_.scan_words(text_, count_, characters_.settings().lowercase, buffer_.masks,
                       buffer_.bytes.data());
    const size_t block_count = (count_ + 63) / 64;
    buffer_.masks[block_count] = {};
    // A window that ends within a block counts as followed by a byte that is no ASCII: no word ends
    // there.
    if (more_follows() && count_ % 64 != 0)
        buffer_.masks[count_ / 64].other |= uint64_t{1} << count_ % 64;

    size_t position = is_idle() ? 0 : walk_characters(0);
    while (position < count_) position = walk_block(position / 64, position);
    if (!more_follows()) end_word();
    return true;
}

// Words of one block from `position` on; returns where to go on.
size_t BertWordReader::walk_block(size_t block, size_t position) {
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
size_t BertWordReader::word_run(size_t position) const {
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
size_t BertWordReader::walk_characters(size_t position) {
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
            const size_t needed = std::min(run, max_characters_ + 1);
            append(buffer_.bytes.data() + position, needed, needed);
            position += run;
        } else {
            end_word();
            return position;
        }
    }
    return position;
}

void BertWordReader::take_character(const uint8_t* text, size_t byte_count, uint32_t code_point) {
    const CharacterEntry entry = characters_.entry_of(code_point);
    switch (entry.action()) {
        case Action::drop:
            return;
        case Action::barrier:
            flush_pending();
            return;
        case Action::space:
            end_word();
            return;
        case Action::alone: {
            end_word();
            const uint64_t bytes = entry.text();
            if (entry.text_bytes() == 0)
                add_alone(text, byte_count);
            else
                add_alone(reinterpret_cast<const uint8_t*>(&bytes), entry.text_bytes());
            return;
        }
        case Action::keep:
            flush_pending();
            append(text, byte_count, 1);
            return;
        case Action::text: {
            flush_pending();
            const uint64_t bytes = entry.text();
            append(reinterpret_cast<const uint8_t*>(&bytes), entry.text_bytes(),
                   entry.text_characters());
            return;
        }
        case Action::sequence: {
            for (const NormalCharacter& character : characters_.sequence_of(entry)) take(character);
            return;
        }
        case Action::hangul: {
            flush_pending();
            uint32_t parts[3];
            const size_t count = unicode::decompose_hangul(code_point, parts);
            for (size_t i = 0; i < count; ++i) append_code_point(parts[i]);
            return;
        }
    }
}

void BertWordReader::take(NormalCharacter character) {
    if (character.rank > 0) {
        // All are parts of a word. One with more of them is too long in any order.
        if (buffer_.pending.size() <= max_characters_) buffer_.pending.push_back(character);
        return;
    }
    flush_pending();
    switch (character.role) {
        case Role::word:
            append_code_point(character.code_point);
            return;
        case Role::punctuation: {
            end_word();
            uint8_t bytes[utf8::kMaxBytes];
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

void BertWordReader::flush_pending() {
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
void BertWordReader::append(const uint8_t* bytes, size_t byte_count, size_t characters) {
    if (word_characters_ > max_characters_) return;
    word_characters_ += characters;
    const size_t needed = end_ + byte_count + BertWordBuffer::kSlackBytes;
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

void BertWordReader::append_code_point(uint32_t code_point) {
    uint8_t bytes[utf8::kMaxBytes];
    append(bytes, utf8::encode(code_point, bytes), 1);
}

void BertWordReader::add_alone(const uint8_t* bytes, size_t byte_count) {
    append(bytes, byte_count, 1);
    end_word();
}

void BertWordReader::end_word() {
    flush_pending();
    if (word_characters_ == 0) return;
    if (buffer_.span_count == buffer_.spans.size())
        buffer_.spans.resize(2 * buffer_.span_count + 64);
    buffer_.spans[buffer_.span_count++] = {static_cast<uint32_t>(word_begin_),
                                           static_cast<uint32_t>(end_ - word_begin_)};
    word_begin_ = end_;
    word_characters_ = 0;
}

ScannedText scan_text(const Kernel& kernel, std::span<const uint8_t> text, bool lowercase) {
    const size_t block_count = (text.size() + 63) / 64;
    ScannedText scanned{std::vector<WordMasks>(block_count),
                        std::vector<uint8_t>(64 * block_count)};
    kernel.scan_words(text.data(), text.size(), lowercase, scanned.masks.data(),
                      scanned.copy.data());
    return scanned;
}

}  // namespace nibblevec
