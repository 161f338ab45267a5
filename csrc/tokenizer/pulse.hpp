#pragma once

#include <stddef.h>

namespace nibblevec {

// The caller of long work, who may want it to end early.
class Caller {
  public:
    virtual ~Caller() = default;
    // Asked from time to time within a long text.
    virtual bool goes_on() = 0;
};

// Asks the caller between pieces of work that take a few milliseconds at most.
class Pulse {
  public:
    explicit Pulse(Caller* caller) : caller_(caller) {}

    // Tells of work on `byte_count` bytes; false once the work is to end.
    bool beat(size_t byte_count) {
        if (byte_count < left_) {
            left_ -= byte_count;
            return true;
        }
        return ask();
    }
    bool is_stopped() const { return is_stopped_; }

  private:
    // The work on a byte takes 50 ns at most.
    static constexpr size_t kBytesBetweenAsking = size_t{1} << 16;

    bool ask() {
        is_stopped_ = is_stopped_ || (caller_ != nullptr && !caller_->goes_on());
        left_ = is_stopped_ ? 0 : kBytesBetweenAsking;
        return !is_stopped_;
    }

    Caller* caller_;
    size_t left_ = kBytesBetweenAsking;
    bool is_stopped_ = false;
};

}  // namespace nibblevec
