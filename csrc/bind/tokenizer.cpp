#include "bind/tokenizer.hpp"

#include <pybind11/stl.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "bind/arrays.hpp"
#include "bind/call.hpp"
#include "bind/module.hpp"
#include "encoder/token_ids.hpp"
#include "kernel/dispatch.hpp"
#include "text/transcoding.hpp"
#include "tokenizer/bert_word_reader.hpp"
#include "tokenizer/tokenizer.hpp"

namespace nibblevec {

size_t piece_or_default(const std::optional<size_t>& characters) {
    if (characters == size_t{0}) throw py::value_error("piece_characters must be at least 1");
    return characters.value_or(kPieceCharacters);
}

namespace {

TextEncoding encoding_of(PyObject* text) {
    if (PyUnicode_IS_ASCII(text) != 0) return TextEncoding::utf8;
    switch (PyUnicode_KIND(text)) {
        case PyUnicode_1BYTE_KIND:
            return TextEncoding::ucs1;
        case PyUnicode_2BYTE_KIND:
            return TextEncoding::ucs2;
        default:
            return TextEncoding::ucs4;
    }
}

}  // namespace

std::vector<TextView> views_of(const py::tuple& texts, size_t first_number,
                               std::optional<size_t> max_characters) {
    const size_t most = max_characters.value_or(std::numeric_limits<size_t>::max());
    std::vector<TextView> views;
    views.reserve(texts.size());
    for (size_t i = 0; i < texts.size(); ++i) {
        PyObject* text = PyTuple_GET_ITEM(texts.ptr(), static_cast<Py_ssize_t>(i));
        if (!PyUnicode_Check(text))
            throw py::type_error("text " + std::to_string(first_number + i) + " is " +
                                 py::cast<std::string>(py::type::of(text).attr("__name__")) +
                                 ", expected str");
#if PY_VERSION_HEX < 0x030c0000
        if (PyUnicode_READY(text) != 0) throw py::error_already_set();
#endif
        const auto length = static_cast<size_t>(PyUnicode_GET_LENGTH(text));
        views.push_back({PyUnicode_DATA(text), std::min(length, most), encoding_of(text),
                         length > most, /*is_absent=*/false});
    }
    return views;
}

namespace {

// Content, id, single_word, lstrip, rstrip, normalized.
using AddedTokenFields = std::tuple<std::string, uint32_t, bool, bool, bool, bool>;

std::unique_ptr<Tokenizer> make_tokenizer(const py::tuple& tokens, const Array<uint32_t>& ids,
                                          const std::string& prefix,
                                          size_t max_input_chars_per_word, uint32_t unknown_id,
                                          bool clean_text, bool handle_chinese_chars,
                                          bool strip_accents, bool lowercase,
                                          const std::vector<AddedTokenFields>& added_tokens) {
    if (ids.ndim() != 1 || static_cast<size_t>(ids.size()) != tokens.size())
        throw py::value_error("ids must be as many as tokens");
    std::string all;
    std::vector<size_t> ends;
    std::vector<uint8_t> buffer;
    const std::vector<TextView> views = views_of(tokens, 0);
    for (size_t i = 0; i < views.size(); ++i) {
        all += utf8_of(views[i], i, buffer);
        ends.push_back(all.size());
    }
    std::vector<std::string_view> contents;
    size_t begin = 0;
    for (const size_t end : ends) {
        contents.push_back(std::string_view(all).substr(begin, end - begin));
        begin = end;
    }
    std::vector<AddedToken> raw, normalized;
    for (const auto& [content, id, single_word, lstrip, rstrip, is_normalized] : added_tokens) {
        if (content.empty()) throw py::value_error("an added token is empty");
        (is_normalized ? normalized : raw).push_back({content, id, single_word, lstrip, rstrip});
    }
    return std::make_unique<Tokenizer>(
        contents, std::span(ids.data(), contents.size()),
        WordPiece::Settings{prefix, max_input_chars_per_word, unknown_id},
        BertSettings{clean_text, handle_chinese_chars, strip_accents, lowercase}, std::move(raw),
        std::move(normalized));
}

// The ids of all blocks end to end. A single large block is handed on without a copy.
py::array_t<uint32_t> joined(std::vector<IdArray>& blocks) {
    if (blocks.size() == 1 && blocks[0].ids().size() >= Tokenizer::kPieceIds) {
        const auto count = static_cast<py::ssize_t>(blocks[0].ids().size());
        IdArray::Memory ids = blocks[0].release();
        const py::capsule owner(ids.get(), [](void* memory) { std::free(memory); });
        return py::array_t<uint32_t>(count, ids.release(), owner);
    }
    size_t count = 0;
    for (const IdArray& block : blocks) count += block.ids().size();
    py::array_t<uint32_t> ids(static_cast<py::ssize_t>(count));
    uint32_t* next = ids.mutable_data();
    for (IdArray& block : blocks) {
        next = std::ranges::copy(block.ids(), next).out;
        block = IdArray();
    }
    return ids;
}

py::tuple encode(const Tokenizer& tokenizer, const py::tuple& texts,
                 std::optional<size_t> max_length, bool keep_end,
                 std::optional<size_t> max_characters, size_t first_number, size_t threads,
                 const std::optional<std::string>& kernel_name,
                 std::optional<size_t> piece_characters) {
    const Kernel& kernel = kernel_or_default(kernel_name);
    const size_t piece = piece_or_default(piece_characters);
    Truncation truncation;
    if (max_length) truncation.max_length = *max_length;
    truncation.keep_end = keep_end;
    const std::vector<TextView> views = views_of(texts, first_number, max_characters);
    EncodedTexts encoded;
    run_without_gil([&](Interruption& interruption) {
        encoded = encode_texts(tokenizer, kernel, views, first_number, truncation, threads,
                               interruption, piece);
    });
    py::array_t<int64_t> offsets(encoded.offsets.size());
    std::memcpy(offsets.mutable_data(), encoded.offsets.data(),
                encoded.offsets.size() * sizeof(int64_t));
    return py::make_tuple(joined(encoded.blocks), offsets, encoded.cut_texts);
}

// Masks (word, punctuation, other) of each 64 bytes, and the copy. For tests.
py::tuple scan_words(const Array<uint8_t>& text, bool lowercase,
                     const std::optional<std::string>& kernel_name) {
    if (text.ndim() != 1) throw py::value_error("text must have one dimension");
    const Kernel& kernel = kernel_or_default(kernel_name);
    const auto byte_count = static_cast<size_t>(text.size());
    const ScannedText scanned = scan_text(kernel, {text.data(), byte_count}, lowercase);
    py::array_t<uint64_t> bits({scanned.masks.size(), size_t{3}});
    if (!scanned.masks.empty())
        std::memcpy(bits.mutable_data(), scanned.masks.data(),
                    scanned.masks.size() * sizeof(WordMasks));
    return py::make_tuple(
        bits, py::array_t<uint8_t>(static_cast<py::ssize_t>(byte_count), scanned.copy.data()));
}

}  // namespace

void bind_tokenizer(py::module_& module) {
    py::class_<Tokenizer>(module, "Tokenizer")
        .def(py::init(&make_tokenizer), py::arg("tokens"), py::arg("ids"), py::kw_only(),
             py::arg("continuing_subword_prefix"), py::arg("max_input_chars_per_word"),
             py::arg("unknown_id"), py::arg("clean_text"), py::arg("handle_chinese_chars"),
             py::arg("strip_accents"), py::arg("lowercase"), py::arg("added_tokens"))
        .def("encode", &encode, py::arg("texts"), py::kw_only(), py::arg("max_length") = py::none(),
             py::arg("keep_end") = false, py::arg("max_characters") = py::none(),
             py::arg("first_number") = 0, py::arg("threads") = 1, py::arg("kernel") = py::none(),
             py::arg("piece_characters") = py::none());
    module.def("scan_words", &scan_words, py::arg("text").noconvert(), py::kw_only(),
               py::arg("lowercase"), py::arg("kernel") = py::none());
}

}  // namespace nibblevec
