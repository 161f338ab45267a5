#include "kernel/dispatch.hpp"

#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

namespace nibblevec {

namespace {

#if defined(NIBBLEVEC_X86)
bool runs_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("f16c"); }

bool runs_avx512() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#endif

std::vector<const Kernel*> detect_kernels() {
    std::vector<const Kernel*> kernels;
#if defined(NIBBLEVEC_X86)
    if (runs_avx512()) kernels.push_back(&kernel_avx512);
    if (runs_avx2()) kernels.push_back(&kernel_avx2);
#endif
    kernels.push_back(&kernel_portable);
    return kernels;
}

const Kernel& kernel_from_environment() {
    const char* name = std::getenv("NIBBLEVEC_ISA");
    if (name == nullptr || *name == '\0') return *supported_kernels().front();
    try {
        return kernel_named(name);
    } catch (const std::invalid_argument& error) {
        throw std::invalid_argument(std::string("NIBBLEVEC_ISA: ") + error.what());
    }
}

}  // namespace

std::span<const Kernel* const> supported_kernels() {
    static const std::vector<const Kernel*> kernels = detect_kernels();
    return kernels;
}

const Kernel& kernel_named(std::string_view name) {
    std::string known;
    for (const Kernel* kernel : supported_kernels()) {
        if (name == kernel->name) return *kernel;
        known += known.empty() ? "" : ", ";
        known += kernel->name;
    }
    throw std::invalid_argument("no kernel named '" + std::string(name) +
                                "' on this CPU, which runs: " + known);
}

const Kernel& default_kernel() {
    static const Kernel& kernel = kernel_from_environment();
    return kernel;
}

}  // namespace nibblevec
