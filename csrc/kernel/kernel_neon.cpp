// Only C headers: a template of the standard library instantiated under this file's flags could
// be handed by the linker to a CPU that lacks them. One exported symbol.
#include <arm_neon.h>
#include <math.h>
#include <string.h>

#include "formats/sse_q4.hpp"
#include "kernel/kernel.hpp"

namespace nibblevec {
namespace {

#include "kernel/lanes_neon.hpp"
// The algorithms, on the lanes above.
#include "formats/plain.inl.hpp"
#include "formats/sse_q4.inl.hpp"
#include "kernel/head.inl.hpp"

}  // namespace

const Kernel kernel_neon = {
    "neon",
    {sum_sse_q4, sum_plain<Float32Numbers>, sum_plain<Float16Numbers>, sum_plain<BFloat16Numbers>},
    apply_head};

}  // namespace nibblevec
