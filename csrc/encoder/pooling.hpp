#pragma once

#include <stddef.h>
#include <stdint.h>

#include <vector>

#include "encoder/call.hpp"
#include "kernel/kernel.hpp"

namespace nibblevec {

// Bags of tokens. Borrowed. Bag i is ids[offsets[i]] to ids[offsets[i + 1] - 1]; offsets do not
// decrease and every id is a row of the table.
struct Bags {
    const uint32_t* ids;
    const float* weights;  // one an id, or null
    const int64_t* offsets;
    size_t bag_count;
};

// What becomes of the sum of a bag. Borrowed. A model that scales its rows itself does so over all
// of its dims; the caller's scaling comes after truncation.
struct BagHead {
    // `own.norm` is the model's, `normalize` the caller's wish.
    BagHead(const HeadView& own, size_t dim, size_t dims, bool normalize);

    HeadView own;
    size_t own_dims;       // summed, and given to `own`
    size_t dims;           // kept of them
    bool normalize_after;  // what is kept is scaled once more
};

// Turns sums into rows, one bag after the other. One a thread.
class BagFinisher {
  public:
    BagFinisher(const Kernel& kernel, const BagHead& head);

    // Where the sum of the bag whose row is `row` is to be written: `head.own_dims` floats.
    float* sum_of(float* row) { return wide_sum_.empty() ? row : wide_sum_.data(); }

    // Turns that sum into the row.
    void finish(size_t token_count, float* row);

  private:
    const Kernel& kernel_;
    const BagHead& head_;
    std::vector<float> wide_sum_;  // where more is summed than kept
};

// Writes one row of `head.dims` floats a bag, end to end: the sum of the bag's rows, then the head.
// Returns early, with the rest of the rows unwritten, when the interruption is requested.
void pool_bags(const Kernel& kernel, const TableView& table, const BagHead& head, const Bags& bags,
               size_t threads, Interruption& interruption, float* rows);

// What pooling takes, about, to see how many threads are worth their start.
double pooling_nanoseconds(double tokens, double bags, size_t dims);

}  // namespace nibblevec
