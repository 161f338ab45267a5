#pragma once

#include <cfenv>

namespace nibblevec {

// The default floating-point environment of this thread while it lives. Another library may have
// left the thread in a mode that flushes denormal numbers to zero or rounds elsewhere than to
// nearest, either of which changes bits.
class DefaultFloatEnvironment {
  public:
    DefaultFloatEnvironment() {
        std::fegetenv(&saved_);
        std::fesetenv(FE_DFL_ENV);
    }
    ~DefaultFloatEnvironment() { std::fesetenv(&saved_); }
    DefaultFloatEnvironment(const DefaultFloatEnvironment&) = delete;
    DefaultFloatEnvironment& operator=(const DefaultFloatEnvironment&) = delete;

  private:
    std::fenv_t saved_;
};

}  // namespace nibblevec
