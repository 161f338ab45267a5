#include "encoder/pooling.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernel/kernel.hpp"
#include "rows/formats.hpp"

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

BagHead::BagHead(const HeadView& own, size_t dim, size_t dims, bool normalize, bool wide_sums)
    : own(own), own_dims(dims), dims(dims), normalize_after(false), wide_sums(wide_sums) {
    if (own.norm == Norm::none) {
        this->own.norm = normalize ? Norm::torch : Norm::none;
    } else {
        own_dims = dim;
        normalize_after = normalize;
    }
}

BagPooler::BagPooler(const Kernel& kernel, const TableView& table, const BagHead& head)
    : kernel_(kernel),
      table_(table),
      head_(head),
      sum_(head.own_dims == head.dims ? 0 : head.own_dims),
      wide_sum_(head.wide_sums ? head.own_dims : 0) {}

void BagPooler::add(const Tokens& tokens, const double* wide_weights, float* vector) {
    if (head_.wide_sums)
        add_wide(tokens, wide_weights);
    else if (wide_weights)
        add_weighted(tokens, wide_weights, sum_of(vector));
    else
        kernel_.sum_rows[static_cast<size_t>(table_.format)](table_, tokens, head_.own_dims,
                                                             token_count_ > 0, sum_of(vector));
    token_count_ += tokens.count;
}

void BagPooler::finish(float* vector) {
    float* sum = sum_of(vector);
    HeadView own = head_.own;
    if (head_.wide_sums) {
        round_wide_mean(sum);
        own.mean = false;
    }
    kernel_.apply_head(own, token_count_, head_.own_dims, sum);
    if (sum != vector) std::memcpy(vector, sum, head_.dims * sizeof(float));
    if (head_.normalize_after)
        kernel_.apply_head({nullptr, nullptr, nullptr, /*mean=*/false, Norm::torch}, 0, head_.dims,
                           vector);
    token_count_ = 0;
}

void BagPooler::add_wide(const Tokens& tokens, const double* wide_weights) {
    if (token_count_ == 0) std::fill(wide_sum_.begin(), wide_sum_.end(), 0.0);
    decoded_.resize(table_.dim);
    for (size_t i = 0; i < tokens.count; ++i) {
        decode_row(table_, tokens.ids[i], decoded_.data());
        const double weight = wide_weights ? wide_weights[i] : 1.0;
        for (size_t dim = 0; dim < wide_sum_.size(); ++dim)
            wide_sum_[dim] += static_cast<double>(decoded_[dim]) * weight;
    }
}

void BagPooler::add_weighted(const Tokens& tokens, const double* wide_weights, float* sum) {
    if (token_count_ == 0) std::fill(sum, sum + head_.own_dims, 0.0f);
    decoded_.resize(table_.dim);
    for (size_t i = 0; i < tokens.count; ++i) {
        decode_row(table_, tokens.ids[i], decoded_.data());
        for (size_t dim = 0; dim < head_.own_dims; ++dim)
            sum[dim] += static_cast<float>(static_cast<double>(decoded_[dim]) * wide_weights[i]);
    }
}

void BagPooler::round_wide_mean(float* mean) {
    const double divisor =
        head_.own.mean && token_count_ > 0 ? static_cast<double>(token_count_) : 1.0;
    for (size_t dim = 0; dim < wide_sum_.size(); ++dim) {
        const double exact = wide_sum_[dim] / divisor;
        mean[dim] = static_cast<float>(exact);
        // A mean that is rounded to float16 after this must not be rounded to the middle between
        // two of them: a result that is not exact gets an odd last bit ("round to odd").
        if (table_.format == RowFormat::float16 && static_cast<double>(mean[dim]) != exact) {
            uint32_t bits;
            std::memcpy(&bits, &mean[dim], sizeof bits);
            if (bits % 2 == 0)
                mean[dim] =
                    std::nextafter(mean[dim], exact > static_cast<double>(mean[dim])
                                                  ? std::numeric_limits<float>::infinity()
                                                  : -std::numeric_limits<float>::infinity());
        }
    }
}

void pool_bags(const Kernel& kernel, const TableView& table, const BagHead& head, const Bags& bags,
               size_t threads, Interruption& interruption, float* vectors) {
    if (bags.bag_count == 0) return;

    const auto id_end = static_cast<size_t>(bags.offsets[bags.bag_count]);

    const auto pool_bag = [&](size_t bag, BagPooler& pooler) {
        const auto begin = static_cast<size_t>(bags.offsets[bag]);
        const auto token_count = static_cast<size_t>(bags.offsets[bag + 1]) - begin;
        float* vector = vectors + bag * head.dims;
        size_t done = 0;
        do {
            const size_t piece = std::min(token_count - done, kPieceTokens);
            const size_t at = begin + done;
            const float* weights = bags.weights ? bags.weights + at : nullptr;
            const double* wide_weights = bags.wide_weights ? bags.wide_weights + at : nullptr;
            pooler.add({bags.ids + at, weights, piece, id_end - at - piece}, wide_weights, vector);
            done += piece;
        } while (done < token_count && !interruption.requested());
        pooler.finish(vector);
    };

    const auto all_tokens = static_cast<double>(bags.offsets[bags.bag_count] - bags.offsets[0]);
    const double nanoseconds =
        pooling_nanoseconds(all_tokens, static_cast<double>(bags.bag_count), head.own_dims);
    const size_t useful = useful_threads(nanoseconds, threads);
    run_blocks(bags.bag_count, kBlockBags, useful, interruption, [&](size_t begin, size_t end) {
        BagPooler pooler(kernel, table, head);
        for (size_t bag = begin; bag < end; ++bag) pool_bag(bag, pooler);
    });
}

void apply_head_to_sums(const Kernel& kernel, const HeadView& head,
                        std::span<const uint64_t> token_counts, size_t dims,
                        Interruption& interruption, float* sums) {
    run_blocks(1, 1, 1, interruption, [&](size_t, size_t) {
        for (size_t bag = 0; bag < token_counts.size(); ++bag)
            kernel.apply_head(head, token_counts[bag], dims, sums + bag * dims);
    });
}

}  // namespace nibblevec
