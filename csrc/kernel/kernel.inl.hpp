// All algorithms, on the lanes of the including file, put together as one `Kernel`.

#include "formats/plain.inl.hpp"
#include "formats/sse_q4.inl.hpp"
#include "kernel/head.inl.hpp"
#include "kernel/scan_words.inl.hpp"

constexpr Kernel make_kernel(const char* name) noexcept {
    return {name,
            {sum_sse_q4, sum_plain<Float32Numbers>, sum_plain<Float16Numbers>,
             sum_plain<BFloat16Numbers>},
            apply_head,
            scan_words};
}
