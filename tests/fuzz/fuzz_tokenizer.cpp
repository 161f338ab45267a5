// libFuzzer's entry to the tokenizer; .ci/fuzz builds and runs it. Any text, in any of the
// storages of a Python str or in UTF-8, under every setting: no error of memory, and the same ids
// from every kernel, whether the text is read in pieces or at once.
#include <array>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "encoder/token_ids.hpp"
#include "kernel/dispatch.hpp"
#include "text/transcoding.hpp"
#include "tokenizer/unicode.hpp"

namespace {

using namespace nibblevec;

constexpr size_t kSettings = 32;

std::unique_ptr<Tokenizer> make_tokenizer(size_t setting) {
    static constexpr std::array<std::string_view, 22> kTokens = {"[UNK]",      "a",
                                                                 "b",          "ab",
                                                                 "##a",        "##b",
                                                                 "##ab",       "e",
                                                                 "i",          ".",
                                                                 "-",          "tea",
                                                                 "##s",        "unaable",
                                                                 "1",          "\xc3\xa9",
                                                                 "##1",        "[",
                                                                 "]",          "\xe4\xb8\xad",
                                                                 "##\xcc\x81", "abcdefghijklmnopq"};
    std::array<uint32_t, kTokens.size()> ids;
    for (uint32_t i = 0; i < ids.size(); ++i) ids[i] = i;
    const auto is_on = [&](size_t bit) { return (setting >> bit & 1) != 0; };
    std::vector<AddedToken> raw{{"[MASK]", 100, false, true, false},
                                {"[M", 101, true, false, true},
                                // Longer than a walk down the trie.
                                {std::string(40, '[') + "M", 104, false, false, false}};
    std::vector<AddedToken> normalized;
    if (is_on(4))
        normalized = {{"a b", 102, false, true, true}, {"\xc3\x89", 103, true, false, false}};
    return std::make_unique<Tokenizer>(
        kTokens, ids, WordPiece::Settings{"##", is_on(4) ? size_t{7} : size_t{100}, 0},
        BertSettings{is_on(0), is_on(1), is_on(2), is_on(3)}, std::move(raw),
        std::move(normalized));
}

const Tokenizer& tokenizer_of(size_t setting) {
    static std::array<std::unique_ptr<Tokenizer>, kSettings> tokenizers;
    if (!tokenizers[setting]) tokenizers[setting] = make_tokenizer(setting);
    return *tokenizers[setting];
}

struct Collected final : IdSink {
    std::vector<uint32_t> ids;
    bool take(std::span<const uint32_t> more) override {
        ids.insert(ids.end(), more.begin(), more.end());
        return true;
    }
    bool goes_on() override { return true; }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size < 3) return 0;
    const Tokenizer& tokenizer = tokenizer_of(data[0] % kSettings);
    constexpr TextEncoding kEncodings[] = {TextEncoding::ucs1, TextEncoding::ucs2,
                                           TextEncoding::ucs4, TextEncoding::unchecked_utf8};
    constexpr size_t kWidths[] = {1, 2, 4, 1};
    const TextEncoding encoding = kEncodings[data[1] % 4];
    const size_t width = kWidths[data[1] % 4];
    Truncation truncation;
    if (data[1] & 0x80) truncation = {data[1] / 4u % 8u, (data[1] & 0x40) != 0};
    const size_t piece_characters = data[2] % 64u + 1;
    data += 3;
    size -= 3;

    // Its own memory, so that reading past its end shows.
    const size_t length = size / width;
    std::vector<uint32_t> units((size + 3) / 4);
    if (size > 0) std::memcpy(units.data(), data, length * width);
    if (width == 4)
        for (uint32_t& unit : units) unit %= unicode::kCodePoints;
    bool is_ascii = encoding == TextEncoding::ucs1;
    for (size_t i = 0; i < length && is_ascii; ++i) is_ascii = data[i] < 0x80;
    const std::unique_ptr<uint8_t[]> exact(new uint8_t[length * width]);
    if (length > 0) std::memcpy(exact.get(), units.data(), length * width);
    const TextView view{exact.get(), length, is_ascii ? TextEncoding::utf8 : encoding,
                        /*is_cut=*/false, /*is_absent=*/false};

    std::vector<uint32_t> first;
    bool is_first = true;
    for (const Kernel* kernel : supported_kernels()) {
        for (const size_t most : {length + 1, piece_characters}) {
            const Tokenizer::Borrowed borrowed(tokenizer);
            Collected collected;
            try {
                const Encoded encoded = encode_text(tokenizer, *kernel, {}, view, 0, truncation,
                                                    *borrowed, collected, most);
                collected.take({(*borrowed).ids.ids.data(), (*borrowed).ids.count});
                if (collected.ids.size() != encoded.id_count) std::abort();
            } catch (const InvalidText&) {
                if (!is_first) std::abort();
                return 0;
            }
            if (is_first) first = collected.ids;
            if (collected.ids != first) std::abort();
            is_first = false;
        }
    }
    return 0;
}
