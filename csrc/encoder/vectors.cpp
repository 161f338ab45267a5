#include "encoder/vectors.hpp"

#include <algorithm>
#include <array>
#include <atomic>

#include "encoder/pooling.hpp"

namespace nibblevec {

namespace {

// English has about so many in a token.
constexpr double kCharactersPerToken = 4.5;

// About 0.2 ms of work: asking reads the clock, which is not for nothing beside a short text.
constexpr size_t kBytesBetweenAsking = size_t{1} << 15;

// Turns the ids of a block of texts into its rows: all at once, unless they are so many that the
// tokenizer hands them over in pieces.
class BlockPooler final : public IdSink {
  public:
    BlockPooler(const VectorModel& model, float* rows, Interruption& interruption)
        : model_(model),
          sum_rows_(model.kernel.sum_rows[static_cast<size_t>(model.table.format)]),
          row_(rows),
          interruption_(interruption) {}

    // The ids from position `begin` on are those of the next text.
    void begin_text(size_t begin) { begins_[text_count_++] = begin; }

    bool take(std::span<const uint32_t> ids) override {
        pool_whole_texts(ids);
        // The last text goes on: its ids so far are summed, and begin anew.
        const size_t begin = begins_[text_count_ - 1];
        add_rows(ids, begin, ids.size());
        carried_tokens_ += ids.size() - begin;
        begins_[0] = 0;
        text_count_ = 1;
        return goes_on();
    }

    bool goes_on() override { return !interruption_.requested(); }

    void finish(std::span<const uint32_t> ids) {
        pool_whole_texts(ids);
        pool_text(ids, begins_[text_count_ - 1], ids.size());
    }

  private:
    void pool_whole_texts(std::span<const uint32_t> ids) {
        for (size_t i = 0; i + 1 < text_count_; ++i) pool_text(ids, begins_[i], begins_[i + 1]);
    }

    void pool_text(std::span<const uint32_t> ids, size_t begin, size_t end) {
        add_rows(ids, begin, end);
        model_.kernel.apply_head(model_.head, carried_tokens_ + end - begin, model_.dims, row_);
        carried_tokens_ = 0;
        row_ += model_.dims;
    }

    void add_rows(std::span<const uint32_t> ids, size_t begin, size_t end) {
        const Tokens tokens{ids.data() + begin, nullptr, end - begin, ids.size() - end};
        sum_rows_(model_.table, tokens, model_.dims, carried_tokens_ > 0, row_);
    }

    const VectorModel& model_;
    Kernel::SumRows sum_rows_;
    float* row_;
    Interruption& interruption_;
    std::array<size_t, kBlockTexts> begins_;
    size_t text_count_ = 0;
    size_t carried_tokens_ = 0;  // of the first of these texts, already in its row
};

}  // namespace

size_t encode_vectors(const VectorModel& model, std::span<const TextView> texts,
                      size_t first_number, size_t threads, Interruption& interruption,
                      float* rows) {
    const double characters = characters_of(texts);
    const double nanoseconds = tokenizing_nanoseconds(characters) +
                               pooling_nanoseconds(characters / kCharactersPerToken,
                                                   static_cast<double>(texts.size()), model.dims);
    std::atomic<size_t> cut_texts{0};
    const size_t block_count = (texts.size() + kBlockTexts - 1) / kBlockTexts;
    run_blocks(block_count, useful_threads(nanoseconds, threads), interruption, [&](size_t block) {
        const Tokenizer::Borrowed borrowed(model.tokenizer);
        Tokenizer::Scratch& scratch = *borrowed;
        const size_t begin = block * kBlockTexts;
        const size_t end = std::min(texts.size(), begin + kBlockTexts);
        BlockPooler pooler(model, rows + begin * model.dims, interruption);
        size_t cut = 0;
        size_t bytes_since_asked = 0;
        for (size_t i = begin; i < end; ++i) {
            const std::string_view text = utf8_of(texts[i], first_number + i, scratch.text);
            pooler.begin_text(scratch.ids.count);
            cut += model.tokenizer.encode(model.kernel, text, model.truncation, scratch, &pooler)
                       .is_cut;
            bytes_since_asked += text.size();
            if (bytes_since_asked >= kBytesBetweenAsking) {
                if (interruption.requested()) return;
                bytes_since_asked = 0;
            }
        }
        pooler.finish({scratch.ids.ids.data(), scratch.ids.count});
        cut_texts += cut;
    });
    return cut_texts;
}

}  // namespace nibblevec
