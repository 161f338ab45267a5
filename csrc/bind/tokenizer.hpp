#pragma once

#include <pybind11/pybind11.h>

#include <optional>
#include <vector>

#include "encoder/texts.hpp"

namespace nibblevec {

// The texts of a tuple of str; they stay as they are for as long as the tuple lives. Throws
// TypeError for what is no str, naming its number, counted from `first_number`. Texts are cut to
// `max_characters`, if that is given.
std::vector<TextView> views_of(const pybind11::tuple& texts, size_t first_number,
                               std::optional<size_t> max_characters = {});

// How many characters of longer texts are read at a time; tests ask for few.
size_t piece_or_default(const std::optional<size_t>& characters);

// Adds Tokenizer.
void bind_tokenizer(pybind11::module_& module);

}  // namespace nibblevec
