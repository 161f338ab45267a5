#pragma once

#include <stddef.h>
#include <stdint.h>

#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/byte_trie.hpp"
#include "tokenizer/long_keys.hpp"
#include "tokenizer/pulse.hpp"

namespace nibblevec {

// A token that is searched in the text itself, with the flags of `tokenizers`.
struct AddedToken {
    std::string content;
    uint32_t id;
    bool single_word;  // not next to a word character
    bool lstrip;       // takes the whitespace before it
    bool rstrip;       // and after it
};

// Finds added tokens as `tokenizers` does: of the matches that begin leftmost the longest, then on
// from its end; one that stands next to a word is passed over with all of its text.
class AddedTokens {
  public:
    // Contents are valid UTF-8, not empty and not repeated.
    explicit AddedTokens(std::vector<AddedToken> tokens);

    bool empty() const { return tokens_.empty(); }

    // Whether texts may be cut behind this character: no token holds it, and none looks at it
    // beside itself.
    bool may_cut_behind(uint32_t code_point) const;

    // Calls `piece(text)` and `token(id)` for the parts of a text, in order, until one of them or
    // the pulse says stop. Empty pieces are left out.
    template <typename Piece, typename Token>
    void split(std::string_view text, Pulse& pulse, const Piece& piece, const Token& token) const {
        size_t begin = 0;  // of the text that is not given yet
        size_t position = 0;
        LongKeys::Window window;
        for (Found found; find(text, position, begin, window, pulse, found);) {
            if (begin < found.begin && !piece(text.substr(begin, found.begin - begin))) return;
            if (!token(found.id)) return;
            begin = found.end;
        }
        if (begin != text.size() && !pulse.is_stopped()) piece(text.substr(begin));
    }

  private:
    struct Found {
        size_t begin;
        size_t end;
        uint32_t id;
    };

    // The next token from `position` on, which moves behind its content. False if there is none,
    // or the pulse says stop.
    bool find(std::string_view text, size_t& position, size_t given, LongKeys::Window& window,
              Pulse& pulse, Found& found) const;
    size_t next_start(std::string_view text, size_t position, Pulse& pulse) const;

    std::vector<AddedToken> tokens_;
    ByteTrie trie_;
    uint32_t root_ = 0;
    LongKeys long_contents_;
    bool starts_[256] = {};    // bytes that a content begins with
    bool contains_[256] = {};  // or holds anywhere
    int only_start_ = -1;      // the byte, if all begin with the same
    uint8_t seen_around_ = 0;  // flags of the characters that a token looks at beside itself
};

}  // namespace nibblevec
