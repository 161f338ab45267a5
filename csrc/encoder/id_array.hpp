#pragma once

#include <stddef.h>
#include <stdint.h>

#include <cstdlib>
#include <memory>
#include <span>

namespace nibblevec {

// Ids that may become many. Large memory grows in place where the system can do that; a vector
// would copy them again and again, each time into pages that nobody touched before.
class IdArray {
  public:
    struct Free {
        void operator()(uint32_t* ids) const { std::free(ids); }
    };
    using Memory = std::unique_ptr<uint32_t[], Free>;

    void append(std::span<const uint32_t> ids);
    std::span<const uint32_t> ids() const { return {ids_.get(), count_}; }
    // Gives the memory away, cut to the ids, and is empty then.
    Memory release();

  private:
    void resize(size_t capacity);

    Memory ids_;
    size_t count_ = 0;
    size_t capacity_ = 0;
};

}  // namespace nibblevec
