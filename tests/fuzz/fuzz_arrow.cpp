// libFuzzer's entry to the Arrow C interface: producers that tell the truth, or lie where it can be
// seen. No error of memory, all that was handed out released once, the texts of an honest producer
// as they are, and vectors out that say the same of nulls. .ci/fuzz builds and runs it.
#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "arrow/text_reader.hpp"
#include "arrow/vector_array.hpp"
#include "arrow_producer.hpp"
#include "text/transcoding.hpp"

namespace {

using namespace nibblevec;
using namespace nibblevec::fuzz;

void check_rows(const ArrowArray& array, ListType type, size_t dims, const Texts& texts,
                size_t begin) {
    require(array.n_children == 1 && array.offset == 0);
    const auto count = static_cast<size_t>(array.length);
    require(begin + count <= texts.size());
    const ArrowArray& child = *array.children[0];
    require(child.length == static_cast<int64_t>(count * dims));
    const auto* values = static_cast<const float*>(child.buffers[1]);
    const auto* validity = static_cast<const uint8_t*>(array.buffers[0]);
    int64_t nulls = 0;
    for (size_t i = 0; i < count; ++i) {
        const bool is_null = validity != nullptr && (validity[i / 8] >> i % 8 & 1) == 0;
        nulls += is_null;
        require(is_null == !texts[begin + i]);
        for (size_t k = 0; k < dims; ++k) {
            const float value = values[i * dims + k];
            require(is_null ? std::isnan(value) : value == static_cast<float>(begin + i));
        }
        if (type == ListType::list) {
            const auto* offsets = static_cast<const int32_t*>(array.buffers[1]);
            require(offsets[i] == static_cast<int32_t>(i * dims));
            require(offsets[i + 1] == static_cast<int32_t>((i + 1) * dims));
        }
    }
    require(array.null_count == nulls);
}

void check_export(std::vector<std::shared_ptr<const VectorRows>> parts, const Texts& texts,
                  size_t dims, Choices& choices) {
    const ListType type = choices.one_in(2) ? ListType::list : ListType::fixed;
    ArrowArrayStream made{};
    export_stream(parts, dims, type, choices.below(64) + 1, made);
    const auto joined = std::make_shared<const VectorRows>(parts, dims);
    const auto whole = std::make_shared<const VectorRows>(  // as it is pickled
        joined->data(), joined->validity_bytes(), joined->count(), dims);
    parts.clear();
    Owned<ArrowArrayStream> stream(made);
    Owned<ArrowSchema> schema;
    require(stream->get_schema(&*stream, &*schema) == 0);
    require(schema->format == (type == ListType::list ? "+l" : "+w:" + std::to_string(dims)));
    std::vector<Owned<ArrowArray>> arrays;
    const size_t most = choices.below(8) == 7 ? choices.below(4) : texts.size() + 1;
    size_t begin = 0;
    while (arrays.size() < most) {
        Owned<ArrowArray> array;
        require(stream->get_next(&*stream, &*array) == 0);
        if (array.is_released()) {
            require(begin == texts.size());
            break;
        }
        check_rows(*array, type, dims, texts, begin);
        begin += static_cast<size_t>(array->length);
        arrays.push_back(std::move(array));
    }
    if (choices.one_in(2)) stream.reset();
    Owned<ArrowArray> child;
    if (!arrays.empty() && choices.one_in(2)) {  // a child outlives the rest
        child = Owned<ArrowArray>(*arrays.front()->children[0]);
        arrays.clear();
        const auto* values = static_cast<const float*>(child->buffers[1]);
        float sum = 0;
        for (int64_t i = 0; i < child->length; ++i) sum += values[i];
        require(std::isnan(sum) || sum >= 0);
    }
    ArrowArray array{};
    export_array(whole, type, array);
    const Owned<ArrowArray> owned(array);
    check_rows(*owned, type, dims, texts, 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Choices choices(data, size);
    const Shape shape{choices.one_in(3), choices.below(6)};
    const bool is_stream = choices.one_in(3);
    std::vector<Column> columns;
    const size_t column_count = is_stream ? choices.below(4) + 1 : 1;
    for (size_t i = 0; i < column_count; ++i) columns.push_back(some_array(choices, shape));
    if (shape.layout == 4)  // a schema tells the width of all indices
        for (Column& column : columns) {
            const Column& first = shape.is_struct ? columns[0].children[1] : columns[0];
            const Column& own = shape.is_struct ? column.children[1] : column;
            if (own.format != first.format || own.dictionary->format != first.dictionary->format)
                return 0;
        }
    for (const Column& column : columns) {
        // The one schema must be true of all columns.
        const auto same = [](const Column& a, const Column& b) {
            return a.format == b.format && a.has_no_format == b.has_no_format;
        };
        if (!same(column, columns[0])) return 0;
        if (shape.is_struct && !same(column.children[1], columns[0].children[1])) return 0;
    }

    bool lies = false;
    bool is_utf8 = true;
    Texts texts;
    for (const Column& column : columns) {
        lies = lies || column.lies;
        texts.insert(texts.end(), column.texts.begin(), column.texts.end());
    }
    const Nulls nulls = choices.one_in(3) ? Nulls::empty : Nulls::keep;
    const size_t max_characters = choices.one_in(2) ? choices.below(16) : SIZE_MAX;
    const size_t dims = choices.below(5) + 1;
    std::optional<std::string> name;
    if (shape.is_struct != choices.one_in(64)) name = choices.one_in(64) ? "texts" : "text";
    lies = lies || name.has_value() != shape.is_struct || (name && *name != "text");

    Stream stream{&columns};
    Counts schemas, arrays;
    Interruption interruption([] { return false; });
    bool was_stream_given = false;
    bool is_taken = false;
    try {
        std::optional<TextReader> reader;
        std::optional<std::string_view> asked;
        if (name) asked = *name;
        if (is_stream) {
            if (choices.one_in(8)) stream.fails_at = choices.below(5);
            if (choices.one_in(32)) stream.has_schema = false;
            stream.leaves_rubbish = choices.one_in(2);
            if (choices.one_in(2)) stream.message = "no more";
            lies = lies || !stream.has_schema || stream.fails_at <= columns.size();
            ArrowArrayStream made{get_schema, get_next, get_last_error, release_stream, &stream};
            was_stream_given = true;
            reader.emplace(Owned<ArrowArrayStream>(made), asked, nulls);
        } else {
            ArrowSchema schema;
            ArrowArray array;
            make_schema(columns[0], &schemas, schema);
            make_array(columns[0], &arrays, array);
            Owned<ArrowSchema> owned_schema(schema);
            Owned<ArrowArray> owned_array(array);
            reader.emplace(std::move(owned_schema), std::move(owned_array), asked, nulls);
        }
        Texts taken;
        std::vector<std::shared_ptr<const VectorRows>> parts;
        while (const auto batch = reader->read(interruption)) {
            const size_t first = taken.size();
            require(batch->first_number() == first);
            auto rows = std::make_shared<VectorRows>(*batch, dims);
            for (size_t begin = 0; begin < batch->count();) {
                const size_t end = std::min(batch->count(), begin + choices.below(9) + 1);
                for (const TextView& view : batch->views(begin, end, max_characters)) {
                    std::string text(static_cast<const char*>(view.data), view.length);
                    require(nulls == Nulls::keep || !view.is_absent);
                    taken.emplace_back();
                    if (!view.is_absent) taken.back() = text;
                    if (!lies && !view.is_absent) {
                        const std::string whole = texts[taken.size() - 1].value_or("");
                        require(view.is_cut ? whole.starts_with(text) : whole == text);
                    }
                    try {
                        check_utf8(view, taken.size() - 1);
                    } catch (const InvalidText&) {
                        is_utf8 = false;
                    }
                }
                begin = end;
            }
            for (size_t i = first; i < taken.size(); ++i)
                std::fill_n(rows->data() + (i - first) * dims, dims, static_cast<float>(i));
            rows->blank_nulls();
            std::optional<size_t> first_null;
            for (size_t i = taken.size(); i-- > first;)
                if (!taken[i]) first_null = i - first;
            require(batch->next_null(0) == first_null);
            parts.push_back(std::move(rows));
        }
        is_taken = true;
        if (!lies) {
            require(taken.size() == texts.size());
            for (size_t i = 0; i < taken.size(); ++i)
                require(taken[i].has_value() == (texts[i].has_value() || nulls == Nulls::empty));
        }
        reader.reset();
        check_export(std::move(parts), taken, dims, choices);
    } catch (const InvalidText&) {
        is_utf8 = false;
    } catch (const NotTexts&) {
        require(lies);
    } catch (const ProducerFailed&) {
        require(lies);
    } catch (const std::invalid_argument&) {
        require(lies);
    } catch (const std::bad_alloc&) {
        require(lies);
    }
    require(is_taken || lies || !is_utf8);
    require(schemas.given == schemas.released && arrays.given == arrays.released);
    require(stream.schemas.given == stream.schemas.released);
    require(stream.arrays.given == stream.arrays.released);
    require(stream.released == (was_stream_given ? 1 : 0));
    return 0;
}
