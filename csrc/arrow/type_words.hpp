#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "arrow/c_data.hpp"

namespace nibblevec {

// The type of a schema in the words of pyarrow, such as "double (float64)" or "list<string>". For
// errors: long ones are cut, and a format that the specification does not have is shown as it is.
// The schema and its format must not be null.
std::string type_in_words(const ArrowSchema& schema);

// The name of an extension type, if the schema is of one.
std::optional<std::string_view> extension_name(const ArrowSchema& schema);

// A name or format between quotes, cut if it is long.
std::string quoted(std::string_view name);

}  // namespace nibblevec
