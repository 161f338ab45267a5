#pragma once

#include <stddef.h>
#include <stdint.h>

#include <array>
#include <cstdlib>
#include <limits>

namespace nibblevec::fuzz {

inline void require(bool holds) {
    if (!holds) std::abort();
}

// The bytes of the fuzzer, a choice each; zeros behind their end.
class Choices {
  public:
    Choices(const uint8_t* data, size_t size) : data_(data), size_(size) {}

    size_t below(size_t count) {
        if (size_ == 0) return 0;
        --size_;
        return *data_++ % count;
    }
    bool one_in(size_t count) { return below(count) == count - 1; }
    int64_t odd_number() {
        constexpr int64_t kMin = std::numeric_limits<int64_t>::min();
        constexpr std::array<int64_t, 14> kNumbers = {-1,
                                                      0,
                                                      1,
                                                      -2,
                                                      7,
                                                      kMin,
                                                      -(kMin + 1),
                                                      int64_t{1} << 62,
                                                      (int64_t{1} << 57) + 1,
                                                      -(int64_t{1} << 31),
                                                      2,
                                                      3,
                                                      64,
                                                      -(kMin + 2)};
        return kNumbers[below(kNumbers.size())];
    }

  private:
    const uint8_t* data_;
    size_t size_;
};

}  // namespace nibblevec::fuzz
