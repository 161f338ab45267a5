#include "kernel/dispatch.hpp"

#include <cstdlib>
#include <stdexcept>
#include <string>

#include "kernel/kernel.hpp"

#if defined(_MSC_VER)
#include <intrin.h>
#elif defined(NIBBLEVEC_AVX2)
#include <cpuid.h>
#endif

namespace nibblevec {

namespace {

// NIBBLEVEC_AVX2 and so on say which kernels the build holds.
#if defined(NIBBLEVEC_AVX2) && defined(_MSC_VER)

// The features that the processor has and whose registers the system saves.
struct CpuFeatures {
    bool avx2 = false;    // with F16C
    bool avx512 = false;  // F, BW, DQ, VL
};

CpuFeatures detect_features() {
    CpuFeatures features;
    int leaf[4];
    const auto has = [&leaf](int reg, int bit) { return (leaf[reg] >> bit & 1) != 0; };
    __cpuid(leaf, 0);
    if (leaf[0] < 7) return features;
    __cpuid(leaf, 1);
    const bool xsave = has(2, 27);
    const bool f16c = has(2, 29);
    if (!xsave) return features;
    const unsigned long long saved = _xgetbv(0);
    __cpuidex(leaf, 7, 0);
    features.avx2 = f16c && has(1, 5) && (saved & 0x06) == 0x06;
    features.avx512 = features.avx2 && has(1, 16) && has(1, 17) && has(1, 30) && has(1, 31) &&
                      (saved & 0xe6) == 0xe6;
    return features;
}

bool runs_avx2() { return detect_features().avx2; }
bool runs_avx512() { return detect_features().avx512; }

#elif defined(NIBBLEVEC_AVX2)

// Not every clang knows "f16c" as a feature.
bool has_f16c() {
    unsigned eax, ebx, ecx, edx;
    return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}

bool runs_avx2() { return __builtin_cpu_supports("avx2") && has_f16c(); }

bool runs_avx512() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

#endif

std::vector<const Kernel*> detect_kernels() {
    std::vector<const Kernel*> kernels;
#if defined(NIBBLEVEC_AVX2)
    if (runs_avx512()) kernels.push_back(&kernel_avx512);
    if (runs_avx2()) kernels.push_back(&kernel_avx2);
#endif
#if defined(NIBBLEVEC_NEON)
    kernels.push_back(&kernel_neon);  // part of every AArch64
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

std::vector<std::string> kernel_names() {
    const Kernel& chosen = default_kernel();
    std::vector<std::string> names{chosen.name};
    for (const Kernel* kernel : supported_kernels())
        if (kernel != &chosen) names.emplace_back(kernel->name);
    return names;
}

const Kernel& kernel_or_default(const std::optional<std::string>& name) {
    return name ? kernel_named(*name) : default_kernel();
}

}  // namespace nibblevec
