// Only C headers: a template of the standard library instantiated under this file's flags could
// be handed by the linker to a CPU that lacks them. One exported symbol.
#include <math.h>
#include <string.h>

#include "kernel/kernel.hpp"
#include "rows/half.hpp"
#include "rows/q4_k.hpp"
#include "rows/q6_k.hpp"
#include "rows/sse_q4.hpp"

namespace nibblevec {
namespace {

#include "kernel/lanes_portable.hpp"
// Behind the lanes that it is written on.
#include "kernel/kernel.inl.hpp"

}  // namespace

const Kernel kernel_portable = make_kernel("portable");

}  // namespace nibblevec
