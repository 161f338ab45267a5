#pragma once

#include <stddef.h>
#include <stdint.h>

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

// Writes one row of `dims` floats a bag, end to end: the sum of the bag's rows, then the head.
// Returns early, with the rest of the rows unwritten, when the interruption is requested.
void pool_bags(const Kernel& kernel, const TableView& table, const HeadView& head, const Bags& bags,
               size_t dims, size_t threads, Interruption& interruption, float* rows);

// What pooling takes, about, to see how many threads are worth their start.
double pooling_nanoseconds(double tokens, double bags, size_t dims);

}  // namespace nibblevec
