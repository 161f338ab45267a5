#pragma once

#include <atomic>
#include <chrono>
#include <exception>
#include <functional>
#include <thread>

namespace nibblevec {

// Runs `call`, which takes Python's GIL or may do so. Before 3.14 Python ends a thread that asks
// for the GIL of an interpreter that is ending, by pthread_exit. glibc then unwinds the C++ frames,
// and the first destructor or catch-all on the way aborts the process. Here such a thread waits for
// the end of the process instead, as it does in Python 3.14.
template <typename Call>
auto keep_thread(const Call& call) {
#if defined(__GLIBCXX__)
    try {
        return call();
    } catch (const std::exception&) {
        throw;
    } catch (...) {  // no exception that has a type, to which a sanitizer could see a reference
        for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
    }
#else
    return call();
#endif
}

// Whether the current call should end early. Threads ask between pieces of work; the thread that
// made it also asks the outside (Python's signal handlers) from time to time.
class Interruption {
  public:
    // `poll` says whether to end; it is only called on this thread.
    explicit Interruption(std::function<bool()> poll);

    // Asked between pieces of at most a few milliseconds.
    bool requested();
    // To be called when another thread fails.
    void request() { requested_.store(true, std::memory_order_relaxed); }

    // The time for which a request from outside may stay unnoticed.
    static constexpr std::chrono::milliseconds kPollInterval{25};

  private:
    std::function<bool()> poll_;
    std::thread::id owner_;
    std::chrono::steady_clock::time_point next_poll_;
    std::atomic<bool> requested_{false};
};

// Runs `work(begin, end)` for 0..count in blocks of `block_size`, on this thread and up to
// `threads` - 1 more that live for this call. Blocks are taken in order, each by the next thread
// that is free. Every thread works in the default floating-point environment. Rethrows the first
// exception of `work`; returns early when the interruption is requested.
void run_blocks(size_t count, size_t block_size, size_t threads, Interruption& interruption,
                const std::function<void(size_t begin, size_t end)>& work);

// The number of threads, up to `threads`, that is worth starting for work of this length.
size_t useful_threads(double nanoseconds, size_t threads);

}  // namespace nibblevec
