#pragma once

#include <stddef.h>

namespace nibblevec {

// Who may want long work to end early.
class Caller {
  public:
    virtual ~Caller() = default;
    // Asked every so often within a long text.
    virtual bool goes_on() = 0;
};

// Asks the caller between pieces of work that take a few milliseconds at most.
class Pulse {
  public:
    explicit Pulse(Caller* caller) : caller_(caller) {}

    // Tells of work on so many bytes; false once no more is to be done.
    bool beat(size_t byte_count) {
        if (byte_count < left_) {
            left_ -= byte_count;
            return true;
        }
        return ask();
    }
    bool is_stopped() const { return is_stopped_; }

  private:
    // What is done to a byte takes 50 ns at most.
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
