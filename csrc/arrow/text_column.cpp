#include "arrow/text_column.hpp"

#include <charconv>
#include <system_error>

#include "arrow/type_words.hpp"

namespace nibblevec {

namespace {

using Layout = TextType::Layout;

struct NamedLayout {
    std::string_view format;
    Layout layout;
};
constexpr NamedLayout kLayouts[] = {
    {"n", Layout::null},       {"u", Layout::utf8}, {"U", Layout::large_utf8},
    {"vu", Layout::utf8_view}, {"z", Layout::utf8}, {"Z", Layout::large_utf8},
    {"vz", Layout::utf8_view},
};

void check_present(const ArrowSchema* schema, const char* what) {
    if (schema == nullptr) throw_malformed(what, "it is missing");
    if (schema->release == nullptr) throw_malformed(what, "it is released");
    if (schema->format == nullptr) throw_malformed(what, "it has no format");
}

// The size of each text of the format "w:size". (Without bytes nothing would bound their number.)
std::optional<size_t> fixed_size(std::string_view format) {
    if (!format.starts_with("w:")) return std::nullopt;
    int32_t size = 0;
    const char* end = format.data() + format.size();
    const auto [stop, error] = std::from_chars(format.data() + 2, end, size);
    if (error != std::errc() || stop != end || size < 1) return std::nullopt;
    return static_cast<size_t>(size);
}

// `column` is the whole of which `schema` is the type, or the type of the dictionary.
TextType layout_of(const ArrowSchema& schema, const ArrowSchema& column, const std::string& what) {
    const std::string_view format = schema.format;
    // Bytes of an extension type, such as those of a UUID, are no text even where they are UTF-8.
    const bool is_bytes = format.ends_with('z') || format.ends_with('Z') || format.starts_with("w");
    if (!is_bytes || !extension_name(schema)) {
        for (const NamedLayout& known : kLayouts)
            if (known.format == format) return {known.layout};
        if (const auto size = fixed_size(format)) return {Layout::fixed_size, *size};
    }
    throw NotTexts(
        what + " is " + type_in_words(column) +
        ", not text; expected string, large_string, string_view, binary that is UTF-8, or"
        " a dictionary of these");
}

// `what` names it in errors.
TextType text_type_of(const ArrowSchema& schema, const std::string& what) {
    if (schema.dictionary == nullptr) return layout_of(schema, schema, what);
    check_present(schema.dictionary, "Arrow schema of the dictionary");
    // Signed ones are small letters.
    constexpr std::string_view kIndices = "cCsSiIlL";
    const std::string_view format = schema.format;
    const size_t place = format.size() == 1 ? kIndices.find(format) : std::string_view::npos;
    if (place == std::string_view::npos)
        throw_malformed("Arrow schema",
                        "a dictionary with indices of the format " + quoted(schema.format));
    if (schema.dictionary->dictionary != nullptr)
        throw NotTexts(what + " is " + type_in_words(schema) + ", a dictionary of dictionaries");
    TextType type = layout_of(*schema.dictionary, schema, what);
    type.index_width = static_cast<uint8_t>(1u << place / 2);
    type.index_is_signed = place % 2 == 0;
    return type;
}

}  // namespace

TextColumn find_text_column(const ArrowSchema& schema, std::optional<std::string_view> name) {
    const char* what = "Arrow schema";
    check_present(&schema, what);
    const bool is_struct = std::string_view(schema.format) == "+s" && schema.dictionary == nullptr;
    if (!is_struct) {
        if (name) throw_malformed(what, "a column is named, but there are none");
        return {text_type_of(schema, "the Arrow array"), std::nullopt, 0};
    }
    if (schema.n_children < 0)
        throw_malformed(what, "it has " + std::to_string(schema.n_children) + " children");
    const auto child_count = static_cast<size_t>(schema.n_children);
    if (child_count > 0 && schema.children == nullptr)
        throw_malformed(what, "its children are missing");
    std::optional<size_t> found;
    std::string names = child_count == 0 ? "none" : "";
    for (size_t i = 0; i < child_count; ++i) {
        const ArrowSchema* child = schema.children[i];
        check_present(child, "Arrow schema of a column");
        const char* child_name = child->name == nullptr ? "" : child->name;
        constexpr size_t kMaxShown = 400;
        if (names.size() < kMaxShown) names += (i == 0 ? "" : ", ") + quoted(child_name);
        if (!name || *name != child_name) continue;
        if (found) throw_malformed(what, "two columns are named " + quoted(child_name));
        found = i;
    }
    if (!name) throw_malformed(what, "no column is named, there are " + names);
    if (!found)
        throw_malformed(what, "no column has the name " + quoted(*name) + ", there are " + names);
    return {text_type_of(*schema.children[*found], "column " + quoted(*name)), found, child_count};
}

}  // namespace nibblevec
