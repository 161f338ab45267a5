// Only C headers: a template of the standard library instantiated under this file's flags could
// be handed by the linker to a CPU that lacks them. One exported symbol.
#include <math.h>
#include <string.h>

#include "kernel/kernel.hpp"

namespace nibblevec {
namespace {

#include "kernel/portable/lanes.hpp"
#include "kernel/portable/sse_q4.hpp"
#include "kernel/portable/superblocks.hpp"
#include "kernel/portable/text.hpp"
// Behind the lanes, and what they have for each family of rows.
#include "kernel/kernel.inl.hpp"

}  // namespace

// `constinit`: an initialiser would run on every CPU, under this file's flags.
constinit const Kernel kernel_portable = make_kernel("portable");

}  // namespace nibblevec
