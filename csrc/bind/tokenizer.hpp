#pragma once

#include <pybind11/pybind11.h>

#include <optional>
#include <vector>

#include "text/text_view.hpp"

namespace nibblevec {

// Views of the texts of a tuple of str, valid as long as the tuple lives. Throws TypeError, with
// the text number counted from `first_number`, if an element is no str. Cuts each text to
// `max_characters` if that is given.
std::vector<TextView> views_of(const pybind11::tuple& texts, size_t first_number,
                               std::optional<size_t> max_characters = {});

// The characters that are read at a time of a longer text; tests ask for few.
size_t piece_or_default(const std::optional<size_t>& characters);

}  // namespace nibblevec
