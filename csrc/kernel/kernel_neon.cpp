// Only C headers: a template of the standard library instantiated under this file's flags could
// be handed by the linker to a CPU that lacks them. One exported symbol.
#include <arm_neon.h>
#include <math.h>
#include <string.h>

#include "kernel/kernel.hpp"

namespace nibblevec {
namespace {

#include "kernel/neon/lanes.hpp"
#include "kernel/neon/sse_q4.hpp"
#include "kernel/neon/superblocks.hpp"
#include "kernel/neon/text.hpp"
// Behind the lanes, and what they have for each family of rows.
#include "kernel/kernel.inl.hpp"

}  // namespace

// `constinit`: an initialiser would run on every CPU, under this file's flags.
constinit const Kernel kernel_neon = make_kernel("neon");

}  // namespace nibblevec
