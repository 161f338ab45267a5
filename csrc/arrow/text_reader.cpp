#include "arrow/text_reader.hpp"

#include <algorithm>
#include <iterator>
#include <system_error>
#include <utility>

#include "text/transcoding.hpp"
#include "text/utf8.hpp"

namespace nibblevec {

namespace {

// Well below a millisecond of checks.
constexpr size_t kTextsBetweenAsking = size_t{1} << 16;

template <typename Check>
void check_all(size_t count, Interruption& interruption, const Check& check) {
    for (size_t i = 0; i < count && !interruption.requested(); i += kTextsBetweenAsking)
        check(i, std::min(count, i + kTextsBetweenAsking));
}

[[noreturn]] void fail(ArrowArrayStream& stream, int code) {
    const char* message = nullptr;
    if (stream.get_last_error != nullptr)
        message = keep_thread([&] { return stream.get_last_error(&stream); });
    throw ProducerFailed(
        code, "Arrow stream: " + (message != nullptr ? std::string(message)
                                                     : std::generic_category().message(code)));
}

Owned<ArrowSchema> schema_of(ArrowArrayStream& stream) {
    if (stream.get_schema == nullptr || stream.get_next == nullptr)
        throw std::invalid_argument("Arrow stream: its functions are missing");
    Owned<ArrowSchema> schema;
    if (const int code = keep_thread([&] { return stream.get_schema(&stream, &*schema); });
        code != 0) {
        *schema = {};  // the producer may have left anything there
        fail(stream, code);
    }
    return schema;
}

TextView view_of(std::string_view text, size_t number, size_t max_characters) {
    TextView view{text.data(), text.size(), TextEncoding::unchecked_utf8, /*is_cut=*/false,
                  /*is_absent=*/false};
    if (text.size() <= max_characters) return view;  // no fewer bytes than characters
    check_utf8(view, number);  // all of it, since the rest is not looked at again
    view.encoding = TextEncoding::utf8;
    const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
    view.length = utf8::bytes_of_characters(bytes, text.size(), max_characters);
    view.is_cut = view.length < text.size();
    return view;
}

}  // namespace

void TextBatch::append(const TextColumn& column, Owned<ArrowArray> array,
                       Interruption& interruption) {
    const TextArray texts(column, *array);
    const size_t number = first_number_ + count_;
    if (texts.has_buffers())
        check_all(texts.count(), interruption,
                  [&](size_t begin, size_t end) { texts.check(begin, end, number); });
    if (texts.count() == 0) return;
    parts_.push_back({std::move(array), texts, count_});
    count_ += texts.count();
    outside_bytes_ += texts.outside_bytes();
}

std::vector<TextBatch::Part>::const_iterator TextBatch::part_of(size_t i) const {
    return std::prev(std::ranges::upper_bound(parts_, i, {}, &Part::begin));
}

std::optional<size_t> TextBatch::next_null(size_t begin) const {
    if (nulls_ == Nulls::empty || begin >= count_) return std::nullopt;
    for (auto part = part_of(begin); part != parts_.end(); ++part) {
        const TextArray& texts = part->texts;
        if (!texts.may_hold_nulls()) continue;
        for (size_t i = std::max(begin, part->begin) - part->begin; i < texts.count(); ++i)
            if (texts.is_null(i)) return part->begin + i;
    }
    return std::nullopt;
}

std::vector<TextView> TextBatch::views(size_t begin, size_t end, size_t max_characters) const {
    std::vector<TextView> views;
    if (begin >= end) return views;
    views.reserve(end - begin);
    for (auto part = part_of(begin); views.size() < end - begin; ++part) {
        const TextArray& texts = part->texts;
        for (size_t i = begin + views.size() - part->begin;
             i < texts.count() && views.size() < end - begin; ++i) {
            if (texts.is_null(i)) {
                TextView view = view_of({}, 0, 0);
                view.is_absent = nulls_ == Nulls::keep;
                views.push_back(view);
            } else {
                views.push_back(
                    view_of(texts.text(i), first_number_ + part->begin + i, max_characters));
            }
        }
    }
    return views;
}

TextReader::TextReader(Owned<ArrowSchema> schema, Owned<ArrowArray> array, ColumnName column,
                       Nulls nulls)
    : array_(std::move(array)), column_(find_text_column(*schema, column)), nulls_(nulls) {
    if (array_.is_released()) throw std::invalid_argument("Arrow array: it is released");
}

TextReader::TextReader(Owned<ArrowArrayStream> stream, ColumnName column, Nulls nulls)
    : stream_(std::move(stream)),
      column_(find_text_column(*schema_of(*stream_), column)),
      nulls_(nulls) {}

Owned<ArrowArray> TextReader::next_array() {
    if (stream_.is_released()) return std::move(array_);
    Owned<ArrowArray> array;
    if (const int code = keep_thread([&] { return stream_->get_next(&*stream_, &*array); });
        code != 0) {
        *array = {};
        fail(*stream_, code);
    }
    if (array.is_released()) stream_.reset();
    return array;
}

std::unique_ptr<TextBatch> TextReader::read(Interruption& interruption) {
    auto batch = std::make_unique<TextBatch>(texts_read_, nulls_);
    while (batch->count() < kBatchTexts && batch->outside_bytes() < kBatchBytes &&
           !interruption.requested()) {
        Owned<ArrowArray> array = next_array();
        if (array.is_released()) break;
        batch->append(column_, std::move(array), interruption);
    }
    texts_read_ += batch->count();
    if (batch->count() == 0 || interruption.requested()) return nullptr;
    return batch;
}

}  // namespace nibblevec
