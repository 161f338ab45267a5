#include "encoder/token_ids.hpp"

#include <atomic>
#include <numeric>

#include "text/transcoding.hpp"

namespace nibblevec {

namespace {

// Measured on English; other scripts take longer, and then start their threads a little late.
constexpr double kNanosecondsPerCharacter = 4.0;

// Keeps the ids of a block of texts.
class Collector final : public IdSink {
  public:
    Collector(IdArray& ids, Interruption& interruption) : ids_(ids), interruption_(interruption) {}

    bool take(std::span<const uint32_t> ids) override {
        ids_.append(ids);
        return goes_on();
    }
    bool goes_on() override { return !interruption_.requested(); }

  private:
    IdArray& ids_;
    Interruption& interruption_;
};

Encoded encode_in_pieces(const Tokenizer& tokenizer, const Kernel& kernel, TextPieces pieces,
                         const Truncation& truncation, Tokenizer::Scratch& scratch, IdSink& sink) {
    Tokenizer::Run run(tokenizer, kernel, truncation, scratch, &sink);
    // Text that cannot be cut is looked at after more and more pieces, not after each.
    size_t pieces_to_read = 1;
    do {
        std::string_view text;
        for (size_t i = 0; i < pieces_to_read && !pieces.is_at_end() && sink.goes_on(); ++i)
            text = pieces.read();
        const size_t end = pieces.is_at_end() ? text.size() : tokenizer.piece_end(text);
        if (end > 0) run.take(text.substr(0, end), pieces.is_at_end());
        pieces.drop(end);
        pieces_to_read = end > 0 ? 1 : 2 * pieces_to_read;
    } while (!pieces.is_at_end() && sink.goes_on());
    return run.finish();
}

}  // namespace

Encoded encode_text(const Tokenizer& tokenizer, const Kernel& kernel, std::string_view prompt,
                    const TextView& text, size_t number, const Truncation& truncation,
                    Tokenizer::Scratch& scratch, IdSink& sink, size_t piece_characters) {
    if (text.length <= piece_characters)
        return tokenizer.encode(kernel, utf8_of(text, number, scratch.text, prompt), truncation,
                                scratch, &sink);
    return encode_in_pieces(tokenizer, kernel,
                            TextPieces(text, number, prompt, piece_characters, scratch.text),
                            truncation, scratch, sink);
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
    EncodedTexts encoded{std::vector<IdArray>((texts.size() + kBlockTexts - 1) / kBlockTexts),
                         std::vector<int64_t>(texts.size() + 1), 0};
    std::atomic<size_t> cut_texts{0};
    const size_t useful = useful_threads(tokenizing_nanoseconds(characters_of(texts)), threads);
    run_blocks(texts.size(), kBlockTexts, useful, interruption, [&](size_t begin, size_t end) {
        const Tokenizer::Borrowed borrowed(tokenizer);
        Tokenizer::Scratch& scratch = *borrowed;
        Collector sink(encoded.blocks[begin / kBlockTexts], interruption);
        for (size_t i = begin; i < end; ++i) {
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
