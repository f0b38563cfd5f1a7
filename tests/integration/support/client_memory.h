// Loads, stores and the signals that answer them: what the test client does to its mappings.
//
// Thread contract: anything from any thread; a Worker belongs to the thread that runs it until it
// has ended.
#pragma once

#include <atomic>
#include <csetjmp>
#include <csignal>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

namespace pmemd {

struct Map {
  char* base = nullptr;
  size_t length = 0;
};

inline thread_local sigjmp_buf fault_return;
inline thread_local volatile sig_atomic_t fault_expected = 0;
inline thread_local volatile int fault_code = 0;
inline thread_local char* volatile fault_address = nullptr;

inline void on_sigbus(int, siginfo_t* info, void*) {
  if (fault_expected == 0) {
    signal(SIGBUS, SIG_DFL);
    return;
  }
  fault_code = info->si_code;
  fault_address = static_cast<char*>(info->si_addr);
  siglongjmp(fault_return, 1);
}

// Runs `access`; "" when it went well, else "sigbus CODE OFFSET". What `access` holds must need no
// destructor.
template <class Access>
std::string try_access(const Map& map, const Access& access) {
  if (sigsetjmp(fault_return, 1) == 0) {
    fault_expected = 1;
    access();
    fault_expected = 0;
    return "";
  }
  fault_expected = 0;
  return "sigbus " + std::to_string(fault_code) + " " + std::to_string(fault_address - map.base);
}

inline volatile uint64_t* word_at(const Map& map, uint64_t offset) {
  return reinterpret_cast<volatile uint64_t*>(map.base + offset);
}

inline uint64_t hash_words(const Map& map) {
  uint64_t hash = 0xcbf29ce484222325;
  for (uint64_t at = 0; at < map.length; at += sizeof(uint64_t)) {
    hash = (hash ^ *word_at(map, at)) * 0x100000001b3;
  }
  return hash;
}

// splitmix64
inline uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

// One thread that stores to the words of its part of a mapping, one after the other, and loads
// others back, until it is told to stop or meets a signal.
struct Worker {
  static constexpr size_t kStride = 4096 / 8;  // a word in every eighth of a page

  Map part;
  std::vector<uint64_t> stored;    // by slot: the last completed store
  size_t slot_in_progress = 0;     // where a store was begun last, and
  uint64_t value_in_progress = 0;  // what
  std::atomic<uint64_t> stores = 0;
  uint64_t wrong_loads = 0;
  std::string ended_by;
  std::thread thread;

  size_t slots() const { return part.length / kStride; }
  volatile uint64_t* slot(size_t i) const { return word_at(part, i * kStride); }

  void run(const std::atomic<bool>& stopping) {
    ended_by = try_access(part, [&] {
      for (uint64_t n = 1; !stopping.load(std::memory_order_relaxed); ++n) {
        slot_in_progress = mix(n) % slots();
        value_in_progress = n;
        std::atomic_signal_fence(std::memory_order_seq_cst);
        *slot(slot_in_progress) = n;
        std::atomic_signal_fence(std::memory_order_seq_cst);
        stored[slot_in_progress] = n;
        stores.store(n, std::memory_order_relaxed);
        const size_t other = mix(~n) % slots();
        if (*slot(other) != stored[other]) ++wrong_loads;
      }
    });
  }

  size_t wrong_slots() const {
    size_t wrong = 0;
    for (size_t i = 0; i < slots(); ++i) {
      const uint64_t found = *slot(i);
      const bool cut = i == slot_in_progress && found == value_in_progress;
      if (found != stored[i] && !cut) ++wrong;
    }
    return wrong;
  }
};

}  // namespace pmemd
