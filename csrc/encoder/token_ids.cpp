#include "encoder/texts.hpp"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>
#include <numeric>
#include <string>

#include "text/utf8.hpp"

namespace nibblevec {

namespace {

// Measured on English; other scripts take longer, and then start their threads a little late.
constexpr double kNanosecondsPerCharacter = 4.0;

// Where there is nothing but ASCII, so many characters are taken at once.
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
void narrow_run(const Unit* units, uint8_t* utf8) {
    uint8_t bytes[kRun];
    for (size_t i = 0; i < kRun; ++i) bytes[i] = static_cast<uint8_t>(units[i]);
    std::memcpy(utf8, bytes, kRun);
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

// Transcodes `count` characters from the one at `begin` on; returns the number of bytes.
template <typename Unit>
size_t transcode(const TextView& text, size_t begin, size_t count, size_t number, uint8_t* utf8) {
    const Unit* units = static_cast<const Unit*>(text.data) + begin;
    uint8_t* next = utf8;
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
    return static_cast<size_t>(next - utf8);
}

bool is_utf8(const TextView& text) { return text.is_ascii || text.width == kUtf8; }

// Puts `count` characters (bytes, if it is UTF-8) from the one at `begin` on behind the first
// `used` bytes of `buffer`; returns how many are in use then.
size_t append_utf8(const TextView& text, size_t begin, size_t count, size_t number, size_t used,
                   std::vector<uint8_t>& buffer) {
    const size_t unit_bytes =
        is_utf8(text) ? 1 : std::min<size_t>(text.width + 1u, utf8::kMaxBytes);
    const size_t most = used + count * unit_bytes;
    if (buffer.size() < most) buffer.resize(most);
    uint8_t* utf8 = buffer.data() + used;
    if (is_utf8(text)) {
        std::copy_n(static_cast<const uint8_t*>(text.data) + begin, count, utf8);
        return used + count;
    }
    if (text.width == 1) return used + transcode<uint8_t>(text, begin, count, number, utf8);
    if (text.width == 2) return used + transcode<uint16_t>(text, begin, count, number, utf8);
    return used + transcode<uint32_t>(text, begin, count, number, utf8);
}

// `count` bytes from the one at `begin` on.
void check_bytes(const TextView& text, size_t begin, size_t count, size_t number) {
    const size_t valid =
        utf8::count_valid_bytes(static_cast<const uint8_t*>(text.data) + begin, count);
    if (valid < count) throw InvalidText(number, "is not UTF-8 at byte", begin + valid);
}

std::string_view as_text(const void* data, size_t byte_count) {
    return {static_cast<const char*>(data), byte_count};
}

}  // namespace

InvalidText::InvalidText(size_t text, const char* problem, size_t position, const char* advice)
    : std::invalid_argument("text " + std::to_string(text) + " " + problem + " " +
                            std::to_string(position) + advice),
      problem(problem),
      position(position) {}

void check_utf8(const TextView& text, size_t number) { check_bytes(text, 0, text.length, number); }

std::string_view utf8_of(const TextView& text, size_t number, std::vector<uint8_t>& buffer) {
    if (is_utf8(text)) return as_text(text.data, text.length);
    const size_t byte_count = append_utf8(text, 0, text.length, number, 0, buffer);
    return as_text(buffer.data(), byte_count);
}

Encoded encode_text(const Tokenizer& tokenizer, const Kernel& kernel, std::string_view prompt,
                    const TextView& text, size_t number, const Truncation& truncation,
                    Tokenizer::Scratch& scratch, IdSink& sink, size_t piece_characters) {
    const bool is_unchecked = text.width == kUtf8;
    if (is_unchecked && text.length <= piece_characters) check_utf8(text, number);
    const bool in_place = is_utf8(text) && prompt.empty();
    const std::string_view bytes =
        is_utf8(text) ? as_text(text.data, text.length) : std::string_view();
    if (in_place && text.length <= piece_characters)
        return tokenizer.encode(kernel, bytes, truncation, scratch, &sink);

    if (scratch.text.size() < prompt.size()) scratch.text.resize(prompt.size());
    std::ranges::copy(prompt, scratch.text.begin());
    size_t waiting = prompt.size();  // bytes that were not taken yet
    if (text.length <= piece_characters) {
        const size_t used = append_utf8(text, 0, text.length, number, waiting, scratch.text);
        return tokenizer.encode(kernel, as_text(scratch.text.data(), used), truncation, scratch,
                                &sink);
    }

    Tokenizer::Run run(tokenizer, kernel, truncation, scratch, &sink);
    size_t read = 0;  // characters, or bytes of UTF-8
    // Text that cannot be cut is looked at after more and more parts, not after each.
    size_t parts = 1;
    do {
        std::string_view piece;
        for (size_t part = 0; part < parts && read < text.length && sink.goes_on(); ++part) {
            size_t count = std::min(piece_characters, text.length - read);
            while (!bytes.empty() && read + count < text.length &&
                   utf8::is_continuation(static_cast<uint8_t>(bytes[read + count])))
                ++count;
            if (is_unchecked) check_bytes(text, read, count, number);
            if (in_place) {
                piece = bytes.substr(read - waiting, waiting + count);
                waiting += count;
            } else {
                waiting = append_utf8(text, read, count, number, waiting, scratch.text);
                piece = as_text(scratch.text.data(), waiting);
            }
            read += count;
        }
        const bool ends_text = read == text.length;
        const size_t end = ends_text ? piece.size() : tokenizer.piece_end(piece);
        if (end > 0) run.take(piece.substr(0, end), ends_text);
        waiting = piece.size() - end;
        if (!in_place && end > 0 && waiting > 0)
            std::memmove(scratch.text.data(), scratch.text.data() + end, waiting);
        parts = end > 0 ? 1 : 2 * parts;
    } while (read < text.length && sink.goes_on());
    return run.finish();
}

void IdArray::append(std::span<const uint32_t> ids) {
    if (ids.empty()) return;
    if (ids.size() > capacity_ - count_) resize(std::max(2 * capacity_, count_ + ids.size()));
    std::memcpy(ids_.get() + count_, ids.data(), ids.size_bytes());
    count_ += ids.size();
}

void IdArray::resize(size_t capacity) {
    void* moved = std::realloc(ids_.get(), capacity * sizeof(uint32_t));
    if (moved == nullptr) throw std::bad_alloc();
    (void)ids_.release();  // to `realloc`
    ids_.reset(static_cast<uint32_t*>(moved));
    capacity_ = capacity;
}

IdArray::Memory IdArray::release() {
    if (count_ < capacity_ && count_ > 0) resize(count_);
    count_ = capacity_ = 0;
    return std::move(ids_);
}

double tokenizing_nanoseconds(double characters) { return characters * kNanosecondsPerCharacter; }

double characters_of(std::span<const TextView> texts) {
    double characters = 0;
    for (const TextView& text : texts) characters += static_cast<double>(text.length);
    return characters;
}

EncodedTexts encode_texts(const Tokenizer& tokenizer, const Kernel& kernel,
                          std::span<const TextView> texts, size_t first_number,
                          const Truncation& truncation, size_t threads, Interruption& interruption,
                          size_t piece_characters) {
    class Collector final : public IdSink {
      public:
        Collector(IdArray& ids, Interruption& interruption)
            : ids_(ids), interruption_(interruption) {}
        bool take(std::span<const uint32_t> ids) override {
            ids_.append(ids);
            return goes_on();
        }
        bool goes_on() override { return !interruption_.requested(); }

      private:
        IdArray& ids_;
        Interruption& interruption_;
    };

    const size_t block_count = (texts.size() + kBlockTexts - 1) / kBlockTexts;
    EncodedTexts encoded{std::vector<IdArray>(block_count), std::vector<int64_t>(texts.size() + 1),
                         0};
    std::atomic<size_t> cut_texts{0};
    const size_t useful = useful_threads(tokenizing_nanoseconds(characters_of(texts)), threads);
    run_blocks(block_count, useful, interruption, [&](size_t block) {
        const Tokenizer::Borrowed borrowed(tokenizer);
        Tokenizer::Scratch& scratch = *borrowed;
        Collector sink(encoded.blocks[block], interruption);
        const size_t end = std::min(texts.size(), (block + 1) * kBlockTexts);
        for (size_t i = block * kBlockTexts; i < end; ++i) {
            const Encoded ids = encode_text(tokenizer, kernel, {}, texts[i], first_number + i,
                                            truncation, scratch, sink, piece_characters);
            encoded.offsets[i + 1] = static_cast<int64_t>(ids.id_count);
            cut_texts += ids.is_cut || texts[i].is_cut;
            if (interruption.requested()) return;
        }
        sink.take({scratch.ids.ids.data(), scratch.ids.count});
    });
    std::partial_sum(encoded.offsets.begin(), encoded.offsets.end(), encoded.offsets.begin());
    encoded.cut_texts = cut_texts;
    return encoded;
}

}  // namespace nibblevec
