#include "text/pieces.hpp"

#include <algorithm>
#include <cstring>

#include "text/transcoding.hpp"
#include "text/utf8.hpp"

namespace nibblevec {

TextPieces::TextPieces(const TextView& text, size_t number, std::string_view prompt,
                       size_t piece_characters, std::vector<uint8_t>& buffer)
    : text_(text),
      number_(number),
      piece_characters_(piece_characters),
      buffer_(buffer),
      is_in_place_(text.is_utf8() && prompt.empty()),
      kept_(prompt.size()) {
    if (buffer_.size() < prompt.size()) buffer_.resize(prompt.size());
    std::ranges::copy(prompt, buffer_.begin());
}

// A piece of UTF-8 does not end within a character.
size_t TextPieces::next_units() const {
    size_t end = read_ + std::min(piece_characters_, text_.length - read_);
    const auto* bytes = static_cast<const uint8_t*>(text_.data);
    while (text_.is_utf8() && end < text_.length && utf8::is_continuation(bytes[end])) ++end;
    return end - read_;
}

std::string_view TextPieces::read() {
    const size_t units = next_units();
    if (text_.encoding == TextEncoding::unchecked_utf8) check_utf8(text_, read_, units, number_);
    if (is_in_place_) {
        kept_ += units;
        read_ += units;
        return {static_cast<const char*>(text_.data) + (read_ - kept_), kept_};
    }
    kept_ = append_utf8(text_, read_, units, number_, kept_, buffer_);
    read_ += units;
    return {reinterpret_cast<const char*>(buffer_.data()), kept_};
}

void TextPieces::drop(size_t byte_count) {
    kept_ -= byte_count;
    if (!is_in_place_ && byte_count > 0 && kept_ > 0)
        std::memmove(buffer_.data(), buffer_.data() + byte_count, kept_);
}

}  // namespace nibblevec
