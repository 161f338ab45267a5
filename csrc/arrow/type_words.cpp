#include "arrow/type_words.hpp"

#include <algorithm>
#include <cstring>

#include "text/utf8.hpp"

namespace nibblevec {

namespace {

struct Words {
    std::string_view format;
    std::string_view words;
};

// Source:
// https://arrow.apache.org/docs/format/CDataInterface.html#data-type-description-format-strings
constexpr Words kTypes[] = {
    {"n", "null"},
    {"b", "bool"},
    {"c", "int8"},
    {"C", "uint8"},
    {"s", "int16"},
    {"S", "uint16"},
    {"i", "int32"},
    {"I", "uint32"},
    {"l", "int64"},
    {"L", "uint64"},
    {"e", "halffloat (float16)"},
    {"f", "float (float32)"},
    {"g", "double (float64)"},
    {"z", "binary"},
    {"Z", "large_binary"},
    {"vz", "binary_view"},
    {"u", "string"},
    {"U", "large_string"},
    {"vu", "string_view"},
    {"tdD", "date32[day]"},
    {"tdm", "date64[ms]"},
    {"tts", "time32[s]"},
    {"ttm", "time32[ms]"},
    {"ttu", "time64[us]"},
    {"ttn", "time64[ns]"},
    {"tDs", "duration[s]"},
    {"tDm", "duration[ms]"},
    {"tDu", "duration[us]"},
    {"tDn", "duration[ns]"},
    {"tiM", "month_interval"},
    {"tiD", "day_time_interval"},
    {"tin", "month_day_nano_interval"},
};

// Types that hold others, whose format may go on behind these letters.
constexpr Words kNested[] = {
    {"+l", "list"},
    {"+L", "large_list"},
    {"+vl", "list_view"},
    {"+vL", "large_list_view"},
    {"+w:", "fixed_size_list"},
    {"+s", "struct"},
    {"+m", "map"},
    {"+ud:", "dense_union"},
    {"+us:", "sparse_union"},
    {"+r", "run_end_encoded"},
};

constexpr size_t kMaxWords = 200;  // bytes; a little more, as the last words are not cut
constexpr size_t kMaxDepth = 8;

std::string cut_name(std::string_view name) {
    constexpr size_t kMaxShown = 80;
    if (name.size() <= kMaxShown) return std::string(name);
    const auto* bytes = reinterpret_cast<const uint8_t*>(name.data());
    return std::string(name.substr(0, utf8::character_begin(bytes, kMaxShown)));
}

void append_type(const ArrowSchema& schema, size_t depth, std::string& words);

void append_child(const ArrowSchema* child, bool is_named, size_t depth, std::string& words) {
    const bool is_there = child != nullptr && child->release != nullptr && child->format != nullptr;
    if (is_there && is_named && child->name != nullptr)
        words.append(cut_name(child->name)).append(": ");
    if (is_there && depth < kMaxDepth)
        append_type(*child, depth, words);
    else
        words += "...";
}

// The children of a struct, a map or a union have names that tell something.
void append_children(const ArrowSchema& schema, bool are_named, size_t depth, std::string& words) {
    words += '<';
    for (int64_t i = 0; schema.children != nullptr && i < schema.n_children; ++i) {
        if (i > 0) words += ", ";
        if (words.size() > kMaxWords) {
            words += "...";
            break;
        }
        append_child(schema.children[i], are_named, depth, words);
    }
    words += '>';
}

// A timestamp with its zone behind the colon, or a decimal with its digits.
bool append_with_parameters(std::string_view format, std::string& words) {
    const std::string_view rest = format.substr(std::min(format.size(), format.find(':') + 1));
    if (format.starts_with("ts") && format.size() >= 4 && format[3] == ':') {
        constexpr std::string_view kUnits = "smun";
        const size_t unit = kUnits.find(format[2]);
        if (unit == std::string_view::npos) return false;
        words.append("timestamp[").append(unit == 0 ? "s" : std::string{format[2], 's'});
        if (!rest.empty()) words.append(", tz=").append(cut_name(rest));
        words += ']';
        return true;
    }
    if (format.starts_with("d:")) {
        const size_t first = rest.find(',');
        const size_t bits = first == std::string_view::npos ? first : rest.find(',', first + 1);
        words.append("decimal")
            .append(bits == std::string_view::npos ? "128" : cut_name(rest.substr(bits + 1)))
            .append("(")
            .append(cut_name(rest.substr(0, bits)))
            .append(")");
        return true;
    }
    if (format.starts_with("w:")) {
        words.append("fixed_size_binary[").append(cut_name(rest)).append("]");
        return true;
    }
    return false;
}

void append_storage(const ArrowSchema& schema, size_t depth, std::string& words) {
    const std::string_view format = schema.format;
    for (const Words& type : kTypes)
        if (format == type.format) {
            words += type.words;
            return;
        }
    for (const Words& type : kNested) {
        const bool has_rest = type.format.ends_with(':');
        if (has_rest ? !format.starts_with(type.format) : format != type.format) continue;
        words += type.words;
        const bool are_named = type.words == "struct" || type.words.ends_with("union");
        append_children(schema, are_named, depth + 1, words);
        if (type.words == "fixed_size_list")
            words.append("[").append(cut_name(format.substr(type.format.size()))).append("]");
        return;
    }
    if (!append_with_parameters(format, words))
        words.append("of the Arrow format ").append(quoted(format));
}

void append_type(const ArrowSchema& schema, size_t depth, std::string& words) {
    const auto extension = extension_name(schema);
    if (extension) words.append("extension<").append(cut_name(*extension)).append("> of ");
    if (schema.dictionary == nullptr) return append_storage(schema, depth, words);
    words += "dictionary<values=";
    append_child(schema.dictionary, /*is_named=*/false, depth + 1, words);
    words += ", indices=";
    append_storage(schema, depth, words);
    words += '>';
}

int32_t read_length(const char* bytes) {
    int32_t length;
    std::memcpy(&length, bytes, sizeof length);
    return length;
}

}  // namespace

std::string type_in_words(const ArrowSchema& schema) {
    std::string words;
    append_type(schema, 0, words);
    return words;
}

std::optional<std::string_view> extension_name(const ArrowSchema& schema) {
    // Pairs of key and value, each behind its length; no size of all is told.
    const char* next = schema.metadata;
    if (next == nullptr) return std::nullopt;
    const auto text = [&]() -> std::optional<std::string_view> {
        const int32_t length = read_length(next);
        if (length < 0) return std::nullopt;
        const std::string_view bytes(next + sizeof length, static_cast<size_t>(length));
        next += sizeof length + bytes.size();
        return bytes;
    };
    int32_t pairs = read_length(next);
    for (next += sizeof pairs; pairs > 0; --pairs) {
        const auto key = text();
        const auto value = key ? text() : std::nullopt;
        if (!value) return std::nullopt;
        if (*key == "ARROW:extension:name") return value;
    }
    return std::nullopt;
}

std::string quoted(std::string_view name) {
    return std::string("'").append(cut_name(name)).append("'");
}

}  // namespace nibblevec
