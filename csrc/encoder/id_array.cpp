#include "encoder/id_array.hpp"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

namespace nibblevec {

void IdArray::append(std::span<const uint32_t> ids) {
    if (ids.empty()) return;
    if (ids.size() > capacity_ - count_) resize(std::max(2 * capacity_, count_ + ids.size()));
    std::memcpy(ids_.get() + count_, ids.data(), ids.size_bytes());
    count_ += ids.size();
}

void IdArray::resize(size_t capacity) {
    void* moved = std::realloc(ids_.get(), capacity * sizeof(uint32_t));
    if (moved == nullptr) throw std::bad_alloc();
    (void)ids_.release();  // to `realloc`
    ids_.reset(static_cast<uint32_t*>(moved));
    capacity_ = capacity;
}

IdArray::Memory IdArray::release() {
    if (count_ < capacity_ && count_ > 0) resize(count_);
    count_ = capacity_ = 0;
    return std::move(ids_);
}

}  // namespace nibblevec
