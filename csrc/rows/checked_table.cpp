#include "rows/checked_table.hpp"

#include <limits>
#include <stdexcept>
#include <string>

#include "rows/formats.hpp"

namespace nibblevec {

namespace {

constexpr size_t kMaxRows = std::numeric_limits<uint32_t>::max();
constexpr int64_t kMaxDim = int64_t{1} << 24;

size_t checked_dim(int64_t dim, const RowFormatTraits& format) {
    const std::string dim_words = std::string("dim ").append(std::to_string(dim));
    if (dim < 1 || dim > kMaxDim)
        throw std::invalid_argument(dim_words + " is not in 1.." + std::to_string(kMaxDim));
    if (static_cast<size_t>(dim) % format.block_dims == 0) return static_cast<size_t>(dim);
    if (format.block_dims == 2)
        throw std::invalid_argument(dim_words + " is odd; " + format.name +
                                    " packs two dimensions in a byte");
    throw std::invalid_argument(dim_words + " is not a multiple of " +
                                std::to_string(format.block_dims) + ", the superblock of " +
                                format.name);
}

void check_numbers(const TableView& table, const RowFormatTraits& format) {
    if (format.unusable_number == nullptr) return;
    const UnusableNumberOfTable found = format.unusable_number(table);
    if (found.number.name == nullptr) return;
    std::string place = found.number.name;
    if (found.is_of_block) place += " of superblock " + std::to_string(found.block);
    throw std::invalid_argument(place + " of row " + std::to_string(found.row) + " is " +
                                std::to_string(found.number.value) + ", expected a finite number");
}

}  // namespace

std::span<const RowFormatTraits> row_formats() { return kRowFormats; }

RowFormat row_format_named(std::string_view name) {
    std::string known;
    for (const RowFormatTraits& format : kRowFormats) {
        if (name == format.name) return format.format;
        known += known.empty() ? "" : ", ";
        known += format.name;
    }
    throw std::invalid_argument("unknown row format '" + std::string(name) + "', expected one of " +
                                known);
}

TableView checked_table(std::span<const uint8_t> bytes, int64_t dim, RowFormat format) {
    const RowFormatTraits& traits = traits_of(format);
    const size_t dims = checked_dim(dim, traits);
    const size_t stride = row_bytes(format, dims) + traits.scale_bytes;
    if (bytes.empty() || bytes.size() % stride != 0)
        throw std::invalid_argument(std::to_string(bytes.size()) +
                                    " bytes, expected a whole number of rows of " +
                                    std::to_string(stride) + " bytes (" + traits.name + ", dim " +
                                    std::to_string(dim) + ")");
    const size_t row_count = bytes.size() / stride;
    if (row_count > kMaxRows)
        throw std::invalid_argument(std::to_string(row_count) + " rows, expected at most " +
                                    std::to_string(kMaxRows));
    const TableView table = make_table_view(format, row_count, dims, bytes.data());
    check_numbers(table, traits);
    return table;
}

}  // namespace nibblevec
