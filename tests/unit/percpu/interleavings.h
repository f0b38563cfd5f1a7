// A model checker for small lock-free programs: runs a few model threads in every interleaving, on
// a memory that is weaker than the machine's.
//
// The program is ordinary code over model::Word. A model thread is run again and again from its
// begin: each operation is answered with what it saw before, until the first new one; that one
// becomes a choice of the search. So there are no fibers, and what a thread did is a path in a tree
// that is made once (core of the idea: stateless replay, as in CHESS and Loom, but a thread at a
// time; so that states of the whole can be kept and met again).
//
// The memory: a store waits in its thread's buffer. From there it goes to memory at any later
// moment, past earlier stores of relaxed order to other words; one of release order goes when it is
// the first. A load sees the youngest store of its own buffer, else memory. An operation that reads
// and writes at once wants an empty buffer. fence_others() writes out the buffers of the other
// threads, one thread at a time, but only what they had *issued*: the stores before their last
// light_fence(), since the compiler may move the others down beyond it. That is x86 and a bit more;
// loads are not reordered.
//
// Thread contract: one search a thread of the process at a time.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace pmemd::model {

inline constexpr size_t kMaxThreads = 3;
inline constexpr size_t kMaxWords = 16;

// What is taken out of the machine, to see that it is missed.
enum class Without { kNothing, kLightFence, kHeavyFence };

// What the test keeps count of beside the program. observe() changes it in one step with the
// operation before it.
struct Ghost {
  std::array<int64_t, 10> values{};  // small numbers
  bool is_freed = false;             // Program::object may not be touched any more
  const char* violation = nullptr;   // set: the search ends

  void check(bool holds, const char* what) {
    if (!holds && violation == nullptr) violation = what;
  }
};

// One word of the model's memory. Made before the search, by the thread that searches.
class Word {
 public:
  explicit Word(uint64_t initial = 0);
  Word(const Word&) = delete;
  Word& operator=(const Word&) = delete;

  uint64_t load(std::memory_order) const;
  void store(uint64_t value, std::memory_order order);
  uint64_t fetch_add(uint64_t value, std::memory_order);
  uint64_t fetch_sub(uint64_t value, std::memory_order);
  uint64_t fetch_or(uint64_t value, std::memory_order);
  bool compare_exchange_weak(uint64_t& expected, uint64_t desired, std::memory_order,
                             std::memory_order);
  // A load that is not done before none of `bits` is set.
  uint64_t await_clear(uint64_t bits) const;

  uint32_t index() const { return index_; }

 private:
  const uint32_t index_;
};

// For the code of model threads.
void light_fence();
void heavy_fence();
void observe(std::function<void(Ghost&)> change);
size_t this_thread();

struct Program {
  std::vector<std::function<void()>> threads;
  // Run before, one after the other, each to its end, as the thread of that number.
  std::vector<std::pair<size_t, std::function<void()>>> setup;
  // At the end of each execution, when the buffers are empty.
  std::function<void(Ghost&, const std::function<uint64_t(uint32_t word)>& read)> at_end;
  std::vector<uint32_t> object;  // words that may be freed
};

struct Outcome {
  std::string violation;           // empty: none in any interleaving
  std::vector<std::string> trace;  // what led to it
  uint64_t states = 0;             // different ones
  uint64_t ends = 0;               // different ones in which all threads are at their end
};

// The words that the program uses must be made between forget_words() and this.
void forget_words();
Outcome explore(const Program& program, Without without = Without::kNothing);

}  // namespace pmemd::model
