#pragma once

#include <pybind11/pybind11.h>

#include <limits>
#include <memory>
#include <optional>
#include <vector>

#include "arrow/text_reader.hpp"

namespace nibblevec {

// Some of the texts of a batch, in the place of a tuple of str.
class TextBlock {
  public:
    // Throws IndexError.
    TextBlock(std::shared_ptr<const TextBatch> batch, size_t begin, size_t end);

    size_t count() const { return end_ - begin_; }
    // Needs no GIL. Throws InvalidText.
    std::vector<TextView> views(std::optional<size_t> max_characters) const {
        return batch_->views(begin_, end_,
                             max_characters.value_or(std::numeric_limits<size_t>::max()));
    }
    // The same as Python objects, None where there is no text. Throws InvalidText.
    pybind11::tuple strings() const;

  private:
    std::shared_ptr<const TextBatch> batch_;
    size_t begin_, end_;
};

}  // namespace nibblevec
