#pragma once

#include <stddef.h>
#include <stdint.h>

#include <span>
#include <vector>

#include "kernel/head.hpp"
#include "rows/table_view.hpp"
#include "threads/call.hpp"

namespace nibblevec {

struct Kernel;
struct Tokens;

// Bags of tokens. Borrowed. Bag i is ids[offsets[i]] to ids[offsets[i + 1] - 1]; offsets do not
// decrease and every id is a row of the table.
struct Bags {
    const uint32_t* ids;
    const float* weights;        // one an id, or null
    const double* wide_weights;  // or float64 ones, or null
    const int64_t* offsets;
    size_t bag_count;
};

// How a bag's rows become its vector. Borrowed. A model that scales its vectors itself does so
// over all of its dims; the caller's scaling comes after truncation.
struct BagHead {
    // `own.norm` is of the model, `normalize` of the caller.
    BagHead(const HeadView& own, size_t dim, size_t dims, bool normalize, bool wide_sums = false);

    HeadView own;
    size_t own_dims;       // summed, and given to `own`
    size_t dims;           // kept of them
    bool normalize_after;  // those that are kept are scaled once more
    // Rows are weighted, added and divided in float64, and then rounded, as NumPy does, and so
    // Model2Vec, where a table or its weights are float64. In plain code: it is rare.
    bool wide_sums;
};

// Turns bags into vectors, one after the other. One a thread.
class BagPooler {
  public:
    BagPooler(const Kernel& kernel, const TableView& table, const BagHead& head);

    // Adds tokens to the bag that becomes `vector`, float32 [head.dims]. A row times a wide weight
    // is rounded once, to float32, unless sums are wide.
    void add(const Tokens& tokens, const double* wide_weights, float* vector);

    // Ends the bag.
    void finish(float* vector);

  private:
    float* sum_of(float* vector) { return sum_.empty() ? vector : sum_.data(); }
    void add_wide(const Tokens& tokens, const double* wide_weights);
    void add_weighted(const Tokens& tokens, const double* wide_weights, float* sum);
    void round_wide_mean(float* mean);

    const Kernel& kernel_;
    const TableView& table_;
    const BagHead& head_;
    size_t token_count_ = 0;  // of the bag so far; its sum is valid if there are any
    std::vector<float> sum_;  // where more is summed than kept
    std::vector<double> wide_sum_;
    std::vector<float> decoded_;
};

// Writes a vector of `head.dims` floats for each bag, end to end. Returns early, with the rest of
// the vectors unwritten, when the interruption is requested.
void pool_bags(const Kernel& kernel, const TableView& table, const BagHead& head, const Bags& bags,
               size_t threads, Interruption& interruption, float* vectors);

// Turns the sums of bags, rows of `dims` floats end to end, into their vectors, in place.
void apply_head_to_sums(const Kernel& kernel, const HeadView& head,
                        std::span<const uint64_t> token_counts, size_t dims,
                        Interruption& interruption, float* sums);

// About the time that pooling takes, to see how many threads are worth their start.
double pooling_nanoseconds(double tokens, double bags, size_t dims);

}  // namespace nibblevec
