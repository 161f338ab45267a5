#pragma once

#include <stddef.h>

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "arrow/c_data.hpp"
#include "arrow/text_array.hpp"
#include "arrow/text_column.hpp"
#include "text/text_view.hpp"
#include "threads/call.hpp"

namespace nibblevec {

// A producer could not go on; `code` is one of errno.
class ProducerFailed : public std::runtime_error {
  public:
    ProducerFailed(int code, const std::string& message)
        : std::runtime_error(message), code(code) {}
    int code;
};

// Whether a null stays one, or counts as an empty text.
enum class Nulls { keep, empty };

// Arrays of texts that follow one another, checked.
class TextBatch {
  public:
    TextBatch(size_t first_number, Nulls nulls) : first_number_(first_number), nulls_(nulls) {}

    // Throws std::invalid_argument; returns early when the interruption is requested.
    void append(const TextColumn& column, Owned<ArrowArray> array, Interruption& interruption);

    size_t count() const { return count_; }
    size_t outside_bytes() const { return outside_bytes_; }
    // The number of the first text in errors.
    size_t first_number() const { return first_number_; }

    // The first text from `begin` on that is null, and stays so.
    std::optional<size_t> next_null(size_t begin) const;

    // Texts where they lie, cut to `max_characters`. Throws InvalidText.
    std::vector<TextView> views(size_t begin, size_t end, size_t max_characters) const;

  private:
    struct Part {
        Owned<ArrowArray> array;
        TextArray texts;
        size_t begin;
    };
    // The part that text i is of.
    std::vector<Part>::const_iterator part_of(size_t i) const;

    std::vector<Part> parts_;
    size_t count_ = 0;
    size_t outside_bytes_ = 0;
    size_t first_number_;
    Nulls nulls_;
};

// Reads the texts of a column from an array or a stream, which it takes over whole.
class TextReader {
  public:
    using ColumnName = std::optional<std::string_view>;

    // Throw NotTexts, std::invalid_argument; ProducerFailed.
    TextReader(Owned<ArrowSchema> schema, Owned<ArrowArray> array, ColumnName column, Nulls nulls);
    TextReader(Owned<ArrowArrayStream> stream, ColumnName column, Nulls nulls);

    // The arrays that make up a batch; null if there are no more texts, or when the interruption is
    // requested. Throws std::invalid_argument, ProducerFailed.
    std::unique_ptr<TextBatch> read(Interruption& interruption);

    // Texts, or bytes of text, that are worth a call, however small the arrays.
    static constexpr size_t kBatchTexts = size_t{1} << 14;
    static constexpr size_t kBatchBytes = size_t{1} << 26;

  private:
    Owned<ArrowArray> next_array();

    Owned<ArrowArrayStream> stream_;
    Owned<ArrowArray> array_;  // where there is no stream
    TextColumn column_;
    Nulls nulls_;
    size_t texts_read_ = 0;
};

}  // namespace nibblevec
