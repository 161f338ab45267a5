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

constexpr Kernel make_kernel(const char* name) noexcept {
    return {name,
            {sum_sse_q4, sum_plain<Float32Numbers>, sum_plain<Float16Numbers>,
             sum_plain<BFloat16Numbers>, sum_plain<Int8Numbers>, sum_superblocks<Q4K>,
             sum_superblocks<Q6K>},
            apply_head,
            scan_words};
}
