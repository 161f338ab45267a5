#pragma once

#include <stdint.h>

#include "threads/call.hpp"

namespace nibblevec {

// The structs of the Arrow C data interface and C stream interface, byte for byte. The holder
// of one calls its `release` once; a struct whose `release` is null was released, or moved.
// Source: https://arrow.apache.org/docs/format/CDataInterface.html and CStreamInterface.html
struct ArrowSchema {
    const char* format;
    const char* name;
    const char* metadata;
    int64_t flags;
    int64_t n_children;
    ArrowSchema** children;
    ArrowSchema* dictionary;
    void (*release)(ArrowSchema*);
    void* private_data;
};

struct ArrowArray {
    int64_t length;
    int64_t null_count;  // -1: not counted
    int64_t offset;
    int64_t n_buffers;
    int64_t n_children;
    const void** buffers;
    ArrowArray** children;
    ArrowArray* dictionary;
    void (*release)(ArrowArray*);
    void* private_data;
};

struct ArrowArrayStream {
    int (*get_schema)(ArrowArrayStream*, ArrowSchema*);
    int (*get_next)(ArrowArrayStream*, ArrowArray*);  // a released array: the end
    const char* (*get_last_error)(ArrowArrayStream*);
    void (*release)(ArrowArrayStream*);
    void* private_data;
};

inline constexpr int64_t kArrowNullable = 2;  // a flag of a schema

// Owns the content of one of these structs, and releases it.
template <class Struct>
class Owned {
  public:
    Owned() : value_{} {}
    // Moves it here, which leaves `other` as one that is released.
    explicit Owned(Struct& other) : value_(other) { other.release = nullptr; }
    Owned(Owned&& other) noexcept : Owned(other.value_) {}
    Owned& operator=(Owned&& other) noexcept {
        if (this != &other) {
            reset();
            value_ = other.value_;
            other.value_.release = nullptr;
        }
        return *this;
    }
    ~Owned() { reset(); }

    void reset() {
        if (value_.release != nullptr) keep_thread([this] { value_.release(&value_); });
        value_.release = nullptr;
    }
    bool is_released() const { return value_.release == nullptr; }

    Struct& operator*() { return value_; }
    const Struct& operator*() const { return value_; }
    Struct* operator->() { return &value_; }
    const Struct* operator->() const { return &value_; }

  private:
    Struct value_;
};

}  // namespace nibblevec
