// For tests of who wakes whom, without a sleep.
#pragma once

#include <chrono>
#include <thread>

namespace pmemd {

// Most times they do. A test passes either way; but where nobody wakes them, it fails most times.
inline void let_others_fall_asleep() {
  const auto enough = std::chrono::steady_clock::now() + std::chrono::milliseconds(10);
  for (int i = 0; i < 1000 && std::chrono::steady_clock::now() < enough; ++i) {
    std::this_thread::yield();
  }
}

}  // namespace pmemd
