#include "encoder/vectors.hpp"

#include <array>
#include <atomic>
#include <vector>

#include "kernel/kernel.hpp"

namespace nibblevec {

namespace {

// English has about this many.
constexpr double kCharactersPerToken = 4.5;

// About 0.2 ms of work: asking reads the clock, which is not for nothing beside a short text.
constexpr size_t kCharactersBetweenAsking = size_t{1} << 15;

// Turns the ids of a block of texts into its vectors: all at once, unless there are more than
// Tokenizer::kPieceIds, which the tokenizer hands over in pieces.
class BlockPooler final : public IdSink {
  public:
    BlockPooler(const VectorModel& model, float* vectors, Interruption& interruption)
        : model_(model),
          pooler_(model.kernel, model.table, model.head),
          vector_(vectors),
          interruption_(interruption) {}

    // The ids from position `begin` on are those of the next text.
    void begin_text(size_t begin) { begins_[text_count_++] = begin; }

    bool take(std::span<const uint32_t> ids) override {
        const RowIds rows = rows_of(ids);
        pool_whole_texts(rows);
        // The last text goes on: its rows so far are added, and begin anew.
        add_rows(rows, begins_[text_count_ - 1], rows.ids.size());
        begins_[0] = 0;
        text_count_ = 1;
        return goes_on();
    }

    bool goes_on() override { return !interruption_.requested(); }

    void finish(std::span<const uint32_t> ids) {
        const RowIds rows = rows_of(ids);
        pool_whole_texts(rows);
        pool_text(rows, begins_[text_count_ - 1], rows.ids.size());
    }

  private:
    struct RowIds {
        std::span<const uint32_t> ids;
        const float* weights;  // one a row, or null
        const double* wide_weights;
    };

    // The rows of ids; where texts begin becomes where they begin among these.
    RowIds rows_of(std::span<const uint32_t> ids) {
        if (model_.rules == nullptr) return {ids, nullptr, nullptr};
        rows_.clear();
        weights_.clear();
        wide_weights_.clear();
        for (size_t i = 0; i < text_count_; ++i) {
            const size_t begin = begins_[i];
            const size_t end = i + 1 < text_count_ ? begins_[i + 1] : ids.size();
            begins_[i] = rows_.size();
            const auto text_ids = ids.subspan(begin, end - begin);
            if (model_.head.wide_sums || model_.rules->has_wide_weights())
                model_.rules->append(text_ids, rows_, wide_weights_);
            else
                model_.rules->append(text_ids, rows_, weights_);
        }
        return {rows_, weights_.empty() ? nullptr : weights_.data(),
                wide_weights_.empty() ? nullptr : wide_weights_.data()};
    }

    void pool_whole_texts(const RowIds& rows) {
        for (size_t i = 0; i + 1 < text_count_; ++i) pool_text(rows, begins_[i], begins_[i + 1]);
    }

    void pool_text(const RowIds& rows, size_t begin, size_t end) {
        add_rows(rows, begin, end);
        pooler_.finish(vector_);
        vector_ += model_.head.dims;
    }

    void add_rows(const RowIds& rows, size_t begin, size_t end) {
        const Tokens tokens{rows.ids.data() + begin, rows.weights ? rows.weights + begin : nullptr,
                            end - begin, rows.ids.size() - end};
        pooler_.add(tokens, rows.wide_weights ? rows.wide_weights + begin : nullptr, vector_);
    }

    const VectorModel& model_;
    BagPooler pooler_;
    float* vector_;  // of the next text
    Interruption& interruption_;
    std::array<size_t, kBlockTexts> begins_;
    size_t text_count_ = 0;
    std::vector<uint32_t> rows_;  // of ids under rules, and their weights
    std::vector<float> weights_;
    std::vector<double> wide_weights_;
};

}  // namespace

size_t encode_vectors(const VectorModel& model, std::span<const TextView> texts,
                      size_t first_number, size_t threads, Interruption& interruption,
                      float* vectors, size_t piece_characters) {
    const double characters =
        characters_of(texts) + static_cast<double>(texts.size() * model.prompt.size());
    const double nanoseconds =
        tokenizing_nanoseconds(characters) + pooling_nanoseconds(characters / kCharactersPerToken,
                                                                 static_cast<double>(texts.size()),
                                                                 model.head.own_dims);
    std::atomic<size_t> cut_texts{0};
    const size_t useful = useful_threads(nanoseconds, threads);
    run_blocks(texts.size(), kBlockTexts, useful, interruption, [&](size_t begin, size_t end) {
        const Tokenizer::Borrowed borrowed(model.tokenizer);
        Tokenizer::Scratch& scratch = *borrowed;
        BlockPooler pooler(model, vectors + begin * model.head.dims, interruption);
        size_t cut = 0;
        size_t characters_since_asked = 0;
        for (size_t i = begin; i < end; ++i) {
            pooler.begin_text(scratch.ids.count);
            if (texts[i].is_absent) continue;
            const Encoded encoded =
                encode_text(model.tokenizer, model.kernel, model.prompt, texts[i], first_number + i,
                            model.truncation, scratch, pooler, piece_characters);
            cut += encoded.is_cut || texts[i].is_cut;
            characters_since_asked += texts[i].length;
            if (characters_since_asked >= kCharactersBetweenAsking) {
                if (interruption.requested()) return;
                characters_since_asked = 0;
            }
        }
        pooler.finish({scratch.ids.ids.data(), scratch.ids.count});
        cut_texts += cut;
    });
    return cut_texts;
}

}  // namespace nibblevec
