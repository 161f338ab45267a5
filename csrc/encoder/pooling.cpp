#include "encoder/pooling.hpp"

#include <algorithm>
#include <cstring>

namespace nibblevec {

namespace {

constexpr size_t kBlockBags = 64;
// A bag longer than this is summed in pieces, so that a call can end within it.
constexpr size_t kPieceTokens = size_t{1} << 16;

// Time of a token and of a head for one dimension, measured with AVX-512; other kernels take up
// to ten times as long, and then start their threads a little late.
constexpr double kNanosecondsPerTokenDim = 0.03;
constexpr double kNanosecondsPerHeadDim = 0.5;

}  // namespace

double pooling_nanoseconds(double tokens, double bags, size_t dims) {
    return static_cast<double>(dims) *
           (tokens * kNanosecondsPerTokenDim + bags * kNanosecondsPerHeadDim);
}

BagHead::BagHead(const HeadView& own, size_t dim, size_t dims, bool normalize)
    : own(own), own_dims(dims), dims(dims), normalize_after(false) {
    if (own.norm == Norm::none) {
        this->own.norm = normalize ? Norm::torch : Norm::none;
    } else {
        own_dims = dim;
        normalize_after = normalize;
    }
}

BagFinisher::BagFinisher(const Kernel& kernel, const BagHead& head)
    : kernel_(kernel), head_(head), wide_sum_(head.own_dims == head.dims ? 0 : head.own_dims) {}

void BagFinisher::finish(size_t token_count, float* row) {
    float* sum = sum_of(row);
    kernel_.apply_head(head_.own, token_count, head_.own_dims, sum);
    if (sum != row) std::memcpy(row, sum, head_.dims * sizeof(float));
    if (head_.normalize_after)
        kernel_.apply_head({nullptr, nullptr, nullptr, /*mean=*/false, Norm::torch}, 0, head_.dims,
                           row);
}

void pool_bags(const Kernel& kernel, const TableView& table, const BagHead& head, const Bags& bags,
               size_t threads, Interruption& interruption, float* rows) {
    if (bags.bag_count == 0) return;
    const auto sum_rows = kernel.sum_rows[static_cast<size_t>(table.format)];

    const auto id_end = static_cast<size_t>(bags.offsets[bags.bag_count]);

    const auto pool_bag = [&](size_t bag, BagFinisher& finisher) {
        const auto begin = static_cast<size_t>(bags.offsets[bag]);
        const auto token_count = static_cast<size_t>(bags.offsets[bag + 1]) - begin;
        float* row = rows + bag * head.dims;
        float* sum = finisher.sum_of(row);
        size_t done = 0;
        do {
            const size_t piece = std::min(token_count - done, kPieceTokens);
            const size_t at = begin + done;
            const float* weights = bags.weights ? bags.weights + at : nullptr;
            sum_rows(table, {bags.ids + at, weights, piece, id_end - at - piece}, head.own_dims,
                     done > 0, sum);
            done += piece;
        } while (done < token_count && !interruption.requested());
        finisher.finish(token_count, row);
    };

    const auto all_tokens = static_cast<double>(bags.offsets[bags.bag_count] - bags.offsets[0]);
    const double nanoseconds =
        pooling_nanoseconds(all_tokens, static_cast<double>(bags.bag_count), head.own_dims);
    const size_t block_count = (bags.bag_count + kBlockBags - 1) / kBlockBags;
    run_blocks(block_count, useful_threads(nanoseconds, threads), interruption, [&](size_t block) {
        BagFinisher finisher(kernel, head);
        const size_t end = std::min(bags.bag_count, (block + 1) * kBlockBags);
        for (size_t bag = block * kBlockBags; bag < end; ++bag) pool_bag(bag, finisher);
    });
}

}  // namespace nibblevec
