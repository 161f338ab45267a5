#pragma once

#include <stddef.h>
#include <stdint.h>

#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "arrow/c_data.hpp"
#include "arrow/text_reader.hpp"

namespace nibblevec {

// Vectors of texts, end to end, and which of them are null.
class VectorRows {
  public:
    // For the texts of a batch; the numbers are not set. Throws std::bad_alloc.
    VectorRows(const TextBatch& texts, size_t dims);
    // Copies those of `parts`, one after the other.
    VectorRows(const std::vector<std::shared_ptr<const VectorRows>>& parts, size_t dims);
    // Copies so many, and which of them are null: a bit a row, or none where all are valid.
    VectorRows(const float* numbers, std::span<const uint8_t> validity, size_t count, size_t dims);

    size_t count() const { return count_; }
    size_t dims() const { return dims_; }
    size_t null_count() const { return null_count_; }
    size_t count_nulls(size_t begin, size_t count) const;
    float* data() { return numbers_.get(); }
    const float* data() const { return numbers_.get(); }
    std::span<const uint8_t> validity_bytes() const { return validity_; }
    const uint8_t* validity() const { return validity_.empty() ? nullptr : validity_.data(); }

    // The rows of nulls become NaN.
    void blank_nulls();

  private:
    struct Free {
        void operator()(float* numbers) const;
    };
    static std::unique_ptr<float[], Free> allocated(size_t count, size_t dims);
    bool is_null(size_t row) const {
        return !validity_.empty() && (validity_[row / 8] >> row % 8 & 1) == 0;
    }
    void set_null(size_t row);

    size_t count_ = 0;
    size_t dims_;
    size_t null_count_ = 0;
    std::unique_ptr<float[], Free> numbers_;
    std::vector<uint8_t> validity_;  // a bit a row; empty: all are valid
};

// What a vector is to Arrow: FixedSizeList<float32>[dims], or List<float32>.
enum class ListType { fixed, list };

// Its offsets are int32.
inline constexpr size_t kMaxListNumbers = std::numeric_limits<int32_t>::max();

// Each fills a struct, which is the consumer's from then on. What is exported keeps its rows.
void export_schema(size_t dims, ListType type, ArrowSchema& schema);

// All rows. Throws std::length_error if a List does not hold them.
void export_array(const std::shared_ptr<const VectorRows>& rows, ListType type, ArrowArray& array);

// Arrays of at most `max_numbers` numbers each, or eight rows if that is more, if they are Lists.
void export_stream(std::vector<std::shared_ptr<const VectorRows>> parts, size_t dims, ListType type,
                   size_t max_numbers, ArrowArrayStream& stream);

}  // namespace nibblevec
