// What has gone wrong with a device since it was enabled.
//
// Thread contract: any thread; reset(): the thread that enables the device.
#pragma once

#include <atomic>
#include <cstdint>

namespace pmemd {

class DeviceHealth {
 public:
  // The kernel's writeback failed: what a mapping stored is lost.
  void count_lost_writeback() { lost_writebacks_.fetch_add(1, std::memory_order_relaxed); }
  uint64_t lost_writebacks() const { return lost_writebacks_.load(std::memory_order_relaxed); }

  // The file system can't go on: every request but writeback fails (EIO) until the next enable.
  void shut_down() { shut_down_.store(true, std::memory_order_release); }
  bool is_shut_down() const { return shut_down_.load(std::memory_order_acquire); }

  void reset() {
    lost_writebacks_.store(0, std::memory_order_relaxed);
    shut_down_.store(false, std::memory_order_relaxed);
  }

 private:
  std::atomic<uint64_t> lost_writebacks_ = 0;
  std::atomic<bool> shut_down_ = false;
};

}  // namespace pmemd
