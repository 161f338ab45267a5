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

// Vectors, end to end, one for each text, and which of them are null.
class VectorRows {
  public:
    // For the texts of a batch; the values are not set. Throws std::bad_alloc.
    VectorRows(const TextBatch& texts, size_t dims);
    // Copies those of `parts`, one after the other.
    VectorRows(const std::vector<std::shared_ptr<const VectorRows>>& parts, size_t dims);
    // Copies `count` vectors. `validity` has a bit for each, or is empty where all are valid.
    VectorRows(const float* values, std::span<const uint8_t> validity, size_t count, size_t dims);

    size_t count() const { return count_; }
    size_t dims() const { return dims_; }
    size_t null_count() const { return null_count_; }
    size_t count_nulls(size_t begin, size_t count) const;
    float* data() { return values_.get(); }
    const float* data() const { return values_.get(); }
    std::span<const uint8_t> validity_bytes() const { return validity_; }
    const uint8_t* validity() const { return validity_.empty() ? nullptr : validity_.data(); }

    // The vectors of nulls become NaN.
    void blank_nulls();

  private:
    struct Free {
        void operator()(float* values) const;
    };
    static std::unique_ptr<float[], Free> allocated(size_t count, size_t dims);
    bool is_null(size_t i) const {
        return !validity_.empty() && (validity_[i / 8] >> i % 8 & 1) == 0;
    }
    void set_null(size_t i);

    size_t count_ = 0;
    size_t dims_;
    size_t null_count_ = 0;
    std::unique_ptr<float[], Free> values_;
    std::vector<uint8_t> validity_;  // a bit a vector; empty: all are valid
};

// The Arrow type of a vector: FixedSizeList<float32>[dims], or List<float32>.
enum class ListType { fixed, list };

// Its offsets are int32.
inline constexpr size_t kMaxListValues = std::numeric_limits<int32_t>::max();

// Each fills a struct, which belongs to the consumer then, and keeps its vectors alive.
void export_schema(size_t dims, ListType type, ArrowSchema& schema);

// All vectors. Throws std::length_error if a List does not hold them.
void export_array(const std::shared_ptr<const VectorRows>& rows, ListType type, ArrowArray& array);

// Lists come in arrays of at most `max_values` values each, or eight vectors if that is more.
void export_stream(std::vector<std::shared_ptr<const VectorRows>> parts, size_t dims, ListType type,
                   size_t max_values, ArrowArrayStream& stream);

}  // namespace nibblevec
