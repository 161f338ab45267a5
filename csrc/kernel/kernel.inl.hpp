// All algorithms, on the lanes of the including file, put together as one `Kernel`.

// Unless the loops over a tile's vectors are unrolled, the sums live in memory. GCC by itself
// unrolls loops so long only after it has decided what may live in registers.
#if defined(__GNUC__)
#define NIBBLEVEC_UNROLL _Pragma("GCC unroll 16")
#else
#define NIBBLEVEC_UNROLL
#endif

#include "kernel/sums/plain.inl.hpp"
#include "kernel/sums/sse_q4.inl.hpp"
#include "kernel/sums/superblocks.inl.hpp"
// Behind the sum that they are plugged into.
#include "kernel/head.inl.hpp"
#include "kernel/scan_words.inl.hpp"
#include "kernel/sums/q4_k.inl.hpp"
#include "kernel/sums/q6_k.inl.hpp"

#undef NIBBLEVEC_UNROLL

struct RowSum {
    RowFormat format;
    Kernel::SumRows sum_rows;
};
constexpr RowSum kRowSums[] = {
    {RowFormat::sse_q4, sum_sse_q4},
    {RowFormat::float32, sum_plain<Float32Numbers>},
    {RowFormat::float16, sum_plain<Float16Numbers>},
    {RowFormat::bfloat16, sum_plain<BFloat16Numbers>},
    {RowFormat::int8, sum_plain<Int8Numbers>},
    {RowFormat::q4_k, sum_superblocks<Q4K>},
    {RowFormat::q6_k, sum_superblocks<Q6K>},
};

constexpr Kernel make_kernel(const char* name) noexcept {
    Kernel kernel = {name, {}, apply_head, scan_words};
    for (const RowSum& sum : kRowSums)
        kernel.sum_rows[static_cast<size_t>(sum.format)] = sum.sum_rows;
    return kernel;
}

// By the formats alone: with sanitizers GCC takes no function's address for a constant.
constexpr bool every_format_has_a_sum() noexcept {
    bool has_sum[kRowFormatCount] = {};
    for (const RowSum& sum : kRowSums) has_sum[static_cast<size_t>(sum.format)] = true;
    for (const bool has : has_sum)
        if (!has) return false;
    return true;
}
static_assert(every_format_has_a_sum());
