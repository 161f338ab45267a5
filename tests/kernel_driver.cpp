// Runs every kernel of this CPU over cases that the NumPy oracle made (tests/kernel_cases.py) and
// compares bits; a NaN equals a NaN. It needs no Python, so it also runs under an emulator.
//
//     kernel_driver CASES [RESULTS]
//
// The floats of all cases go to RESULTS.<kernel>; whatever the machine, the bytes are the same.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernel/dispatch.hpp"
#include "kernel/kernel.hpp"
#include "rows/formats.hpp"

namespace {

using namespace nibblevec;

constexpr uint64_t kMagic = 0x315345534143564e;  // "NVCASES1"

class Reader {
  public:
    explicit Reader(const std::string& path) {
        std::ifstream file(path, std::ios::binary);
        if (!file) throw std::runtime_error("cannot open " + path);
        bytes_.assign(std::istreambuf_iterator<char>(file), {});
    }
    bool at_end() const { return position_ == bytes_.size(); }
    uint64_t number() { return array<uint64_t>(1)[0]; }
    template <typename T>
    std::vector<T> array(uint64_t count) {
        if (count > (bytes_.size() - position_) / sizeof(T))
            throw std::runtime_error("the file of cases is cut");
        std::vector<T> values(count);
        if (count > 0) std::memcpy(values.data(), bytes_.data() + position_, count * sizeof(T));
        position_ += count * sizeof(T);
        return values;
    }

  private:
    std::vector<char> bytes_;
    size_t position_ = 0;
};

// A copy that ends where its allocation ends, so that a checker sees what is read past it.
template <typename T>
std::unique_ptr<T[]> exact(const std::vector<T>& values) {
    auto copy = std::make_unique<T[]>(values.size());
    if (!values.empty()) std::memcpy(copy.get(), values.data(), values.size() * sizeof(T));
    return copy;
}

bool same(const std::vector<float>& expected, const float* found) {
    for (size_t i = 0; i < expected.size(); ++i) {
        const bool both_nan = expected[i] != expected[i] && found[i] != found[i];
        if (!both_nan && std::memcmp(&expected[i], found + i, sizeof(float)) != 0) {
            std::printf("  dim %zu: expected %a, found %a\n", i, static_cast<double>(expected[i]),
                        static_cast<double>(found[i]));
            return false;
        }
    }
    return true;
}

struct Case {
    virtual ~Case() = default;
    // The result of one kernel, compared with what the oracle expects.
    virtual bool run(const Kernel& kernel, std::vector<float>& result) const = 0;
};

struct SumCase : Case {
    RowFormat format;
    size_t row_count, dim, dims, first_piece;
    std::vector<uint8_t> table;
    std::vector<uint32_t> ids;
    std::vector<float> weights;  // none, or one an id
    std::vector<float> expected;

    explicit SumCase(Reader& reader) {
        format = static_cast<RowFormat>(reader.number());
        row_count = reader.number();
        dim = reader.number();
        dims = reader.number();
        first_piece = reader.number();
        table = reader.array<uint8_t>(reader.number());
        ids = reader.array<uint32_t>(reader.number());
        weights = reader.array<float>(reader.number());
        expected = reader.array<float>(dims);
    }

    bool run(const Kernel& kernel, std::vector<float>& result) const override {
        const auto bytes = exact(table);
        const TableView view = make_table_view(format, row_count, dim, bytes.get());
        const auto row_ids = exact(ids);
        const auto token_weights = exact(weights);
        const float* first_weight = weights.empty() ? nullptr : token_weights.get();
        const auto sum = exact(std::vector<float>(dims, -1.0f));
        const auto sum_rows = kernel.sum_rows[static_cast<size_t>(format)];
        const size_t rest = ids.size() - first_piece;
        sum_rows(view, {row_ids.get(), first_weight, first_piece, rest}, dims, false, sum.get());
        const float* next_weight = first_weight ? first_weight + first_piece : nullptr;
        sum_rows(view, {row_ids.get() + first_piece, next_weight, rest, 0}, dims, true, sum.get());
        result.assign(sum.get(), sum.get() + dims);
        return same(expected, sum.get());
    }
};

struct HeadCase : Case {
    size_t dims, token_count;
    bool mean;
    Norm norm;
    std::vector<float> alpha, beta, bias;  // none: no DyT
    std::vector<float> row, expected;

    explicit HeadCase(Reader& reader) {
        dims = reader.number();
        token_count = reader.number();
        mean = reader.number() != 0;
        norm = static_cast<Norm>(reader.number());
        const uint64_t head_dims = reader.number();
        alpha = reader.array<float>(head_dims);
        beta = reader.array<float>(head_dims);
        bias = reader.array<float>(head_dims);
        row = reader.array<float>(dims);
        expected = reader.array<float>(dims);
    }

    bool run(const Kernel& kernel, std::vector<float>& result) const override {
        const auto a = exact(alpha);
        const auto b = exact(beta);
        const auto c = exact(bias);
        const auto y = exact(row);
        const HeadView head = alpha.empty() ? HeadView{nullptr, nullptr, nullptr, mean, norm}
                                            : HeadView{a.get(), b.get(), c.get(), mean, norm};
        kernel.apply_head(head, token_count, dims, y.get());
        result.assign(y.get(), y.get() + dims);
        return same(expected, y.get());
    }
};

std::vector<std::unique_ptr<Case>> read_cases(const std::string& path) {
    Reader reader(path);
    if (reader.number() != kMagic) throw std::runtime_error(path + " is not a file of cases");
    std::vector<std::unique_ptr<Case>> cases;
    while (!reader.at_end()) {
        if (reader.number() == 0)
            cases.push_back(std::make_unique<SumCase>(reader));
        else
            cases.push_back(std::make_unique<HeadCase>(reader));
    }
    return cases;
}

int run(int argc, char** argv) {
    const auto cases = read_cases(argv[1]);
    size_t failures = 0;
    std::vector<float> result;
    for (const Kernel* kernel : supported_kernels()) {
        size_t failed = 0;
        std::ofstream results;
        if (argc > 2) results.open(std::string(argv[2]) + "." + kernel->name, std::ios::binary);
        for (size_t i = 0; i < cases.size(); ++i) {
            if (!cases[i]->run(*kernel, result)) {
                std::printf("%s: case %zu differs\n", kernel->name, i);
                ++failed;
            }
            for (float& value : result)
                if (value != value) value = 0.0f;  // the bits of a NaN are not promised
            results.write(reinterpret_cast<const char*>(result.data()),
                          static_cast<std::streamsize>(result.size() * sizeof(float)));
        }
        std::printf("%s: %zu of %zu cases equal the oracle\n", kernel->name, cases.size() - failed,
                    cases.size());
        failures += failed;
    }
    return failures == 0 && !cases.empty() ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 2) {
        std::fprintf(stderr, "usage: kernel_driver CASES [RESULTS]\n");
        return EXIT_FAILURE;
    }
    try {
        return run(argc, argv);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return EXIT_FAILURE;
    }
}
