// The protocol of PercpuRef: each thread counts in a cell of its own until a kill; after it, all
// count in one word.
//
// No lock, no callback, no system call of its own: the parameter `Machine` provides what it needs
// from the machine, so that the same code runs under a model that tries every interleaving
// (tests/unit/percpu/percpu_count_test.cc).
//
// The word: two flags, and a count in steps of kOne.
//   live       kBias + what was counted here + the initial reference; the cells hold the rest
//   dying      the same with kDying, until kill() has added up the cells (the *confirmation*)
//   confirmed  kDying + all references; the cells stand still
//   zero       kDying alone
// A cell: two sums in steps of two, `gets` and `puts`, so that taking and putting are separate
// dependency chains in the CPU; their low bit, kInside, says that the owner is between its two
// stores.
//
// Invariants:
//  1. A cell changes, except for kInside, only if its owner saw the word without flags after it had
//     set kInside.
//  2. References = word (less kBias) + the cells' gets - puts - base_, until the confirmation; the
//     word alone from then on.
//  3. From zero only begin() raises the count.
//  4. After a put, a thread touches nothing of the object unless the put said that it is at zero.
//
// Why this is correct in the C++ memory model. It is Dekker's problem: the owner of a cell stores
// kInside and loads the word, the killer stores kDying and loads the cell; they must not both miss
// the other's store. Two fences of seq_cst, between store and load on each side, would do, at the
// cost of an atomic operation each. light_fence() and heavy_fence() are the same two fences with
// the cost moved to the side that seldom runs (membarrier(2); P1202, asymmetric fences): for each
// pair of executions, one comes before the other in a single order, so
//  - light before heavy: the killer's load sees kInside, or what the owner stored later. It waits
//    for the bit to clear, and counts what the owner did;
//  - heavy before light: the owner's load sees kDying. The owner leaves its cell as it was and
//    counts in the word.
// All else is release and acquire. Each store to a cell is a release (a later store hides the
// earlier ones from a thread that loads the cell), and the killer's load is an acquire: so what was
// done under a reference happens before the confirmation, which is acq_rel on the word; puts in the
// word are acq_rel as well, and so the thread that takes it to zero comes after all users. begin()
// and resurrect() release the word, gets acquire it. A cell's owner reads its own last store; the
// next owner gets the cell under a mutex (ThreadCells).
//
// TSan checks the release and acquire edges, and what users do with them. It knows neither the
// fences nor reordering, so it can't notice that a fence is missing; the model does, with stores
// delayed and overtaken.
//
// Thread contract: begin(), kill() and resurrect() by one thread at a time (the owner of the
// object); the others by any thread.
// Models: lib/percpu-refcount.c percpu_ref_switch_to_atomic_rcu(), percpu_ref_tryget_live_rcu()
// @v6.12; differs: a cell belongs to a thread, which may be preempted inside; so a killer waits
// for kInside where the kernel waits for an RCU grace period.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace pmemd {

// Machine has: Word (an atomic uint64_t), Cell {Word gets, puts}, Column, kNoColumn, and, all
// static, Cell* my_cell(column), for_each_cell(column, visit), light_fence(), heavy_fence(),
// uint64_t await_clear(const Word&, bits): an acquire load that has none of the bits, and
// insist(bool, const char* what): an assert.
template <class Machine>
class PercpuCount {
  using Word = typename Machine::Word;
  using Cell = typename Machine::Cell;
  using Column = typename Machine::Column;

 public:
  static constexpr uint64_t kDying = 1;
  static constexpr uint64_t kShared = 2;  // no column: always counts in the word
  static constexpr uint64_t kFlagBits = 2;
  static constexpr uint64_t kOne = uint64_t{1} << kFlagBits;
  static constexpr uint64_t kBias = uint64_t{1} << 63;

  // Starts at zero, dying. Nobody may count in `column`, and its cells must not have kInside.
  explicit PercpuCount(Column column)
      : column_(column), word_(kDying | (column == Machine::kNoColumn ? kShared : 0)) {}

  // Asserts: at zero. Live from then on, with the initial reference.
  void begin() {
    const uint64_t word = word_.load(std::memory_order_acquire);
    Machine::insist(is_zero(word), "begins a life when the last one isn't over");
    base_.store(sum_of_cells(), std::memory_order_relaxed);
    word_.store(word - kDying + kBias + kOne, std::memory_order_release);
  }

  bool tryget_live_many(uint64_t n) {
    return count_in_cell(&Cell::gets, n) || tryget_live_in_word(n);
  }

  // False only at zero.
  bool tryget_many(uint64_t n) { return count_in_cell(&Cell::gets, n) || tryget_in_word(n); }

  // The caller holds a reference.
  void get_many(uint64_t n) {
    if (count_in_cell(&Cell::gets, n)) return;
    const uint64_t before = word_.fetch_add(n * kOne, std::memory_order_relaxed);
    Machine::insist(before >= kOne, "got beside a reference, and there was none");
  }

  // True: the count is now zero. Exactly one caller in each life gets true.
  [[nodiscard]] bool put_many(uint64_t n) {
    return !count_in_cell(&Cell::puts, n) && put_in_word(n);
  }

  // Puts the initial reference. True: as in put_many(). No tryget_live_many() that begins after the
  // return succeeds. Waits for threads between the two stores of count_in_cell().
  [[nodiscard]] bool kill() {
    const uint64_t live = word_.fetch_or(kDying, std::memory_order_acq_rel);
    Machine::insist((live & kDying) == 0, "killed what is dying");
    uint64_t in_cells = 0;
    if (column_ != Machine::kNoColumn) {
      Machine::heavy_fence();
      Machine::for_each_cell(column_, [&](const Cell& cell) {
        in_cells += Machine::await_clear(cell.gets, kInside) / kTwo;
        in_cells -= Machine::await_clear(cell.puts, kInside) / kTwo;
      });
      in_cells -= base_.load(std::memory_order_relaxed);
    }
    const uint64_t change = (in_cells - 1) * kOne - kBias;
    const uint64_t word = word_.fetch_add(change, std::memory_order_acq_rel) + change;
    Machine::insist(!is_biased(word), "more puts than gets");
    return is_zero(word);
  }

  // Takes a confirmed kill back. False: the count is at zero; call begin() once the thread that
  // brought it there is done.
  [[nodiscard]] bool resurrect() {
    base_.store(sum_of_cells(), std::memory_order_relaxed);  // they stand still
    uint64_t word = word_.load(std::memory_order_acquire);
    Machine::insist((word & kDying) != 0 && !is_biased(word), "resurrected what is live");
    while (!is_zero(word)) {
      if (word_.compare_exchange_weak(word, word - kDying + kBias + kOne, std::memory_order_acq_rel,
                                      std::memory_order_acquire)) {
        return true;
      }
    }
    return false;
  }

  bool is_dying() const { return (word_.load(std::memory_order_acquire) & kDying) != 0; }

  // References, without the initial one. Exact while nobody changes it; else a snapshot, which may
  // mix two lives, but never includes a put without its get.
  uint64_t count() const {
    // In this order: a put is never seen without its get, wherever the two were counted.
    uint64_t puts = 0;
    Machine::for_each_cell(column_, [&](const Cell& cell) {
      puts += cell.puts.load(std::memory_order_acquire) / kTwo;
    });
    const uint64_t word = word_.load(std::memory_order_acquire);
    if (!is_biased(word)) return word / kOne;
    uint64_t gets = 0;
    Machine::for_each_cell(column_, [&](const Cell& cell) {
      gets += cell.gets.load(std::memory_order_acquire) / kTwo;
    });
    // Negative when references taken in cells were put here. The shift rounds down and drops flags.
    const int64_t in_word = static_cast<int64_t>(word - kBias) >> kFlagBits;
    const uint64_t in_cells = gets - puts - base_.load(std::memory_order_relaxed);
    return static_cast<uint64_t>(
        std::max<int64_t>(in_word - 1 + static_cast<int64_t>(in_cells), 0));
  }

 private:
  static constexpr uint64_t kInside = 1;  // of a cell's sums; the rest counts in steps of two
  static constexpr uint64_t kTwo = 2;

  static bool is_zero(uint64_t word) { return (word & ~kShared) == kDying; }
  // Whether kBias is in it, no matter what was added or subtracted.
  static bool is_biased(uint64_t word) { return word >= kBias / 2; }

  // The fast path. False: counted nothing, because a flag is set or there is no cell.
  bool count_in_cell(Word Cell::* which, uint64_t n) {
    Cell* const cell = Machine::my_cell(column_);
    if (cell == nullptr) [[unlikely]] {
      return false;
    }
    Word& sum = cell->*which;
    const uint64_t before = sum.load(std::memory_order_relaxed);
    sum.store(before + kInside, std::memory_order_release);
    Machine::light_fence();
    if ((word_.load(std::memory_order_acquire) & (kDying | kShared)) != 0) [[unlikely]] {
      sum.store(before, std::memory_order_release);
      return false;
    }
    sum.store(before + kTwo * n, std::memory_order_release);
    return true;
  }

  [[gnu::noinline]] bool tryget_live_in_word(uint64_t n) {
    uint64_t word = word_.load(std::memory_order_relaxed);
    while ((word & kDying) == 0) {
      if (word_.compare_exchange_weak(word, word + n * kOne, std::memory_order_acquire,
                                      std::memory_order_relaxed)) {
        return true;
      }
    }
    return false;
  }

  [[gnu::noinline]] bool tryget_in_word(uint64_t n) {
    uint64_t word = word_.load(std::memory_order_relaxed);
    while (!is_zero(word)) {
      if (word_.compare_exchange_weak(word, word + n * kOne, std::memory_order_acquire,
                                      std::memory_order_relaxed)) {
        return true;
      }
    }
    return false;
  }

  [[gnu::noinline]] bool put_in_word(uint64_t n) {
    const uint64_t before = word_.fetch_sub(n * kOne, std::memory_order_acq_rel);
    Machine::insist(before / kOne >= n, "more puts than gets");
    return is_zero(before - n * kOne);
  }

  // Only while they stand still; an owner may be inside, about to find a flag.
  uint64_t sum_of_cells() const {
    uint64_t sum = 0;
    Machine::for_each_cell(column_, [&](const Cell& cell) {
      sum += cell.gets.load(std::memory_order_acquire) / kTwo;
      sum -= cell.puts.load(std::memory_order_acquire) / kTwo;
    });
    return sum;
  }

  const Column column_;
  Word word_;
  Word base_{0};  // what the cells held when this life began
};

}  // namespace pmemd
