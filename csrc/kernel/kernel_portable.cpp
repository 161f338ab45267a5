// Only C headers: a template of the standard library instantiated under this file's flags could
// be handed by the linker to a CPU that lacks them. One exported symbol.
#include <math.h>
#include <string.h>

#include "formats/half.hpp"
#include "formats/q4_k.hpp"
#include "formats/q6_k.hpp"
#include "formats/sse_q4.hpp"
#include "kernel/kernel.hpp"

namespace nibblevec {
namespace {

#include "kernel/lanes_portable.hpp"
// Behind the lanes that it is written on.
#include "kernel/kernel.inl.hpp"

}  // namespace

const Kernel kernel_portable = make_kernel("portable");

}  // namespace nibblevec
