#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace nibblevec {

struct Kernel;

// The kernels this CPU runs, the fastest first. Never empty: "portable" runs everywhere.
std::span<const Kernel* const> supported_kernels();

// Throws std::invalid_argument, which lists this CPU's kernels, for any other name.
const Kernel& kernel_named(std::string_view name);

// The kernel that NIBBLEVEC_ISA names, else the fastest. Reads the variable at the first call only.
const Kernel& default_kernel();

// The names of the kernels this CPU runs, the default's first.
std::vector<std::string> kernel_names();

const Kernel& kernel_or_default(const std::optional<std::string>& name);

}  // namespace nibblevec
