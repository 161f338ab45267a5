#pragma once

#include <span>
#include <string_view>

#include "kernel/kernel.hpp"

namespace nibblevec {

// The kernels this CPU runs, the fastest first. Never empty: "portable" runs everywhere.
std::span<const Kernel* const> supported_kernels();

// Throws std::invalid_argument, which lists what this CPU runs, for any other name.
const Kernel& kernel_named(std::string_view name);

// What NIBBLEVEC_ISA names, else the fastest. The variable is read at the first call only.
const Kernel& default_kernel();

}  // namespace nibblevec
