#pragma once

#include <stddef.h>
#include <stdint.h>

#include <string_view>
#include <vector>

#include "text/text_view.hpp"

namespace nibblevec {

// A longer text is read in pieces: as UTF-8, at most 128 KB, each is still in the second-level
// cache when its words are read.
inline constexpr size_t kPieceCharacters = size_t{1} << 15;

// Reads a text behind its prompt as UTF-8, piece by piece: in place if it is UTF-8 and there is no
// prompt, else through `buffer`. Borrows all that it is given.
class TextPieces {
  public:
    // `number` names the text in errors.
    TextPieces(const TextView& text, size_t number, std::string_view prompt,
               size_t piece_characters, std::vector<uint8_t>& buffer);

    bool is_at_end() const { return read_ == text_.length; }

    // Reads the next piece; returns it behind all that was read before and not dropped. What comes
    // back is valid until the next call. Throws InvalidText.
    std::string_view read();

    // The first bytes of what `read` returned are not needed any more.
    void drop(size_t byte_count);

  private:
    size_t next_units() const;

    const TextView& text_;
    size_t number_;
    size_t piece_characters_;
    std::vector<uint8_t>& buffer_;
    bool is_in_place_;
    size_t read_ = 0;  // code points, or bytes of UTF-8
    size_t kept_;      // bytes that were read and not dropped
};

}  // namespace nibblevec
