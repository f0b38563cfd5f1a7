#include "daemon/fuse/watchdog.h"

#include <pthread.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <utility>

namespace pmemd {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

Watchdog::Watchdog(Ports ports, Limits limits)
    : ports_(std::move(ports)), limits_(limits), moved_at_(steady_clock::now()) {
  sem_init(&wakeup_, 0, 0);
  thread_ = std::thread([this] { run(); });
}

Watchdog::~Watchdog() {
  ended_.store(true, std::memory_order_release);
  sem_post(&wakeup_);
  thread_.join();
  sem_destroy(&wakeup_);
}

void Watchdog::wake() noexcept {
  if (!woken_.load(std::memory_order_relaxed) && !woken_.exchange(true)) sem_post(&wakeup_);
}

void Watchdog::stop_within(milliseconds timeout) {
  stop_timeout_ms_.store(std::max<int64_t>(timeout.count(), 1), std::memory_order_release);
  sem_post(&wakeup_);
}

void Watchdog::wait(milliseconds timeout) {
  timespec until = {};
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_sec += timeout.count() / 1000;
  until.tv_nsec += timeout.count() % 1000 * 1'000'000;
  if (until.tv_nsec >= 1'000'000'000) {
    ++until.tv_sec;
    until.tv_nsec -= 1'000'000'000;
  }
  while (sem_clockwait(&wakeup_, CLOCK_MONOTONIC, &until) != 0 && errno == EINTR) {
  }
  woken_.store(false);
}

void Watchdog::run() {
  pthread_setname_np(pthread_self(), "watchdog");
  while (!ended_.load(std::memory_order_acquire)) {
    const bool is_watching_closely =
        ports_.nobody_reads() || stop_timeout_ms_.load(std::memory_order_acquire) != 0;
    wait(is_watching_closely ? limits_.settle : limits_.look);
    if (!ended_.load(std::memory_order_acquire)) look();
  }
}

void Watchdog::look() {
  const auto now = steady_clock::now();
  const milliseconds stop_timeout(stop_timeout_ms_.load(std::memory_order_acquire));
  const bool stops = stop_timeout.count() != 0;
  if (has_aborted()) {
    if (stops && now - aborted_at_ >= limits_.exit_after) ports_.exit();
    return;
  }
  const bool nobody_reads = ports_.nobody_reads();
  const uint64_t progress = ports_.progress();
  if (progress != seen_ || (stops ? ports_.is_writing() : !nobody_reads)) {
    seen_ = progress;
    moved_at_ = now;
    return;
  }
  const auto still = now - moved_at_;
  if (nobody_reads && still >= limits_.settle && ports_.add_thread()) {
    moved_at_ = now;
    return;
  }
  const milliseconds timeout = stops ? stop_timeout : limits_.stall;
  if (timeout.count() != 0 && still >= timeout) abort();
}

void Watchdog::abort() {
  aborted_at_ = steady_clock::now();
  aborted_.store(true, std::memory_order_release);
  ports_.abort();
}

}  // namespace pmemd
