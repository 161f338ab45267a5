#include "encoder/texts.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <numeric>
#include <string>

#include "tokenizer/unicode.hpp"

namespace nibblevec {

namespace {

// Measured on English; other scripts take longer, and then start their threads a little late.
constexpr double kNanosecondsPerCharacter = 4.0;

template <typename Unit>
size_t transcode(const TextView& text, size_t number, uint8_t* utf8) {
    const auto* units = static_cast<const Unit*>(text.data);
    uint8_t* next = utf8;
    for (size_t i = 0; i < text.length; ++i) {
        const uint32_t code_point = units[i];
        if constexpr (sizeof(Unit) > 1)
            if (code_point - 0xd800 < 0x800) throw LoneSurrogate(number, i);
        next += unicode::encode(code_point, next);
    }
    return static_cast<size_t>(next - utf8);
}

}  // namespace

LoneSurrogate::LoneSurrogate(size_t text, size_t position)
    : std::invalid_argument("text " + std::to_string(text) +
                            " holds a lone surrogate at character " + std::to_string(position)) {}

std::string_view utf8_of(const TextView& text, size_t number, std::vector<uint8_t>& buffer) {
    if (text.is_ascii) return {static_cast<const char*>(text.data), text.length};
    const size_t most = text.length * std::min<size_t>(text.width + 1u, 4);
    if (buffer.size() < most) buffer.resize(most);
    size_t byte_count;
    if (text.width == 1)
        byte_count = transcode<uint8_t>(text, number, buffer.data());
    else if (text.width == 2)
        byte_count = transcode<uint16_t>(text, number, buffer.data());
    else
        byte_count = transcode<uint32_t>(text, number, buffer.data());
    return {reinterpret_cast<const char*>(buffer.data()), byte_count};
}

double tokenizing_nanoseconds(double characters) { return characters * kNanosecondsPerCharacter; }

double characters_of(std::span<const TextView> texts) {
    double characters = 0;
    for (const TextView& text : texts) characters += static_cast<double>(text.length);
    return characters;
}

EncodedTexts encode_texts(const Tokenizer& tokenizer, const Kernel& kernel,
                          std::span<const TextView> texts, size_t first_number,
                          const Truncation& truncation, size_t threads,
                          Interruption& interruption) {
    class Piece final : public IdSink {
      public:
        Piece(std::vector<uint32_t>& ids, Interruption& interruption)
            : ids_(ids), interruption_(interruption) {}
        bool take(std::span<const uint32_t> ids) override {
            ids_.insert(ids_.end(), ids.begin(), ids.end());
            return goes_on();
        }
        bool goes_on() override { return !interruption_.requested(); }

      private:
        std::vector<uint32_t>& ids_;
        Interruption& interruption_;
    };

    const size_t block_count = (texts.size() + kBlockTexts - 1) / kBlockTexts;
    EncodedTexts encoded{std::vector<std::vector<uint32_t>>(block_count),
                         std::vector<int64_t>(texts.size() + 1), 0};
    std::atomic<size_t> cut_texts{0};
    const size_t useful = useful_threads(tokenizing_nanoseconds(characters_of(texts)), threads);
    run_blocks(block_count, useful, interruption, [&](size_t block) {
        const Tokenizer::Borrowed borrowed(tokenizer);
        Tokenizer::Scratch& scratch = *borrowed;
        Piece sink(encoded.blocks[block], interruption);
        const size_t end = std::min(texts.size(), (block + 1) * kBlockTexts);
        for (size_t i = block * kBlockTexts; i < end; ++i) {
            const std::string_view text = utf8_of(texts[i], first_number + i, scratch.text);
            const Encoded ids = tokenizer.encode(kernel, text, truncation, scratch, &sink);
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
