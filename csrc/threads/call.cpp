#include "threads/call.hpp"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <utility>
#include <vector>

#include "threads/float_environment.hpp"

namespace nibblevec {

Interruption::Interruption(std::function<bool()> poll)
    : poll_(std::move(poll)),
      owner_(std::this_thread::get_id()),
      next_poll_(std::chrono::steady_clock::now() + kPollInterval) {}

bool Interruption::requested() {
    if (requested_.load(std::memory_order_relaxed)) return true;
    if (std::this_thread::get_id() != owner_) return false;
    if (std::chrono::steady_clock::now() < next_poll_) return false;
    if (poll_()) request();
    next_poll_ = std::chrono::steady_clock::now() + kPollInterval;
    return requested_.load(std::memory_order_relaxed);
}

void run_blocks(size_t count, size_t block_size, size_t threads, Interruption& interruption,
                const std::function<void(size_t begin, size_t end)>& work) {
    const size_t block_count = count / block_size + (count % block_size != 0);
    std::atomic<size_t> next_block{0};
    std::mutex mutex;
    std::condition_variable one_ended;
    size_t running = 0;
    std::exception_ptr failure;

    const auto work_until_done = [&] {
        const DefaultFloatEnvironment environment;
        try {
            for (size_t block;
                 !interruption.requested() && (block = next_block.fetch_add(1)) < block_count;) {
                const size_t begin = block * block_size;
                work(begin, begin + std::min(block_size, count - begin));
            }
        } catch (...) {
            interruption.request();
            const std::lock_guard lock(mutex);
            if (!failure) failure = std::current_exception();
        }
    };

    std::vector<std::thread> helpers;
    helpers.reserve(std::min(threads, block_count));
    while (helpers.size() + 1 < std::min(threads, block_count)) {
        {
            const std::lock_guard lock(mutex);
            ++running;
        }
        try {
            helpers.emplace_back([&] {
                work_until_done();
                const std::lock_guard lock(mutex);
                --running;
                one_ended.notify_one();
            });
        } catch (const std::exception&) {  // no more threads to be had: go on with these
            const std::lock_guard lock(mutex);
            --running;
            break;
        }
    }

    work_until_done();
    {
        std::unique_lock lock(mutex);
        while (
            !one_ended.wait_for(lock, Interruption::kPollInterval, [&] { return running == 0; })) {
            lock.unlock();
            interruption.requested();
            lock.lock();
        }
    }
    for (std::thread& helper : helpers) helper.join();
    if (failure) std::rethrow_exception(failure);
}

size_t useful_threads(double nanoseconds, size_t threads) {
    constexpr double kWorthStarting = 2e6;
    constexpr double kWorthAThread = 1e6;
    if (nanoseconds < kWorthStarting) return 1;
    const double useful = nanoseconds / kWorthAThread;
    return useful < static_cast<double>(threads) ? static_cast<size_t>(useful) : threads;
}

}  // namespace nibblevec
