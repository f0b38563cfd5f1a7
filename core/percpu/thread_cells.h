// Memory in which threads count without sharing a cache line.
//
// A table: a row for each thread, a column for each PercpuRef, a cell where they meet. A row has
// its own pages, so no two threads write to one cache line; the columns of a row lie side by side,
// so a reference costs 16 bytes for each counting thread, not a line (the layout of the kernel's
// per-CPU allocator, mm/percpu.c @v6.12). The table is one mapping of 128 MiB; the kernel allocates
// each page at its first touch.
//
// A thread takes a row when it first counts and gives it back when it ends; the next owner
// continues from the values it finds. A thread without a row (all kMaxThreads are taken, or it is
// ending: a destructor of a thread_local) and a PercpuRef without a column count in the PercpuRef's
// shared word, which is always correct and only slower.
//
// Invariants:
//  1. A row has one owner at a time, and only its owner writes to it.
//  2. Values of a cell never decrease, except in the low bit (core/percpu/percpu_count.h).
//  3. Where the kernel refuses membarrier(2) or the mapping, there are no columns: nobody counts in
//     cells without a working heavy_fence().
//
// Thread contract: any thread. Not for signal handlers: one would write to its thread's cell while
// the thread does.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace pmemd {

// What one thread took and gave back on one PercpuRef.
struct CountCell {
  std::atomic<uint64_t> gets;
  std::atomic<uint64_t> puts;
};
static_assert(sizeof(CountCell) == 16 && std::atomic<uint64_t>::is_always_lock_free);

class ThreadCells {
 public:
  static constexpr size_t kMaxThreads = 128;
  static constexpr size_t kMaxColumns = 65'536;

  // Offset of its cell in a row, in bytes: finding it takes one addition.
  using Column = size_t;
  static constexpr Column kNoColumn = 0;  // its cells exist, but nothing is counted in them

  // kNoColumn: all are taken, or there is no table.
  static Column take_column();
  // Nobody may count in it any more. kNoColumn is allowed.
  static void give_back_column(Column column);

  // The caller's own cell; null if it has no row.
  static CountCell* mine(Column column) {
    char* row = my_row;
    if (row == nullptr) [[unlikely]] {
      row = take_row();
      if (row == nullptr) return nullptr;
    }
    return cell_at(row + column);
  }

  // Calls visit(CountCell&) for each thread that has or had a row. Threads that take one after a
  // heavy_fence() may be left out.
  template <class Visit>
  static void for_each(Column column, Visit visit) {
    const size_t rows = rows_taken.load(std::memory_order_acquire);
    for (size_t row = 0; row < rows; ++row) visit(*cell_at(the_table + row * kRowBytes + column));
  }

  // For every other thread of the process: either it executed light_fence() before this, and its
  // stores before that are visible to us; or it executes it later, and then sees what we stored
  // before this. Takes a few microseconds: the kernel interrupts the CPUs that run our threads.
  static void heavy_fence();
  // The other half: orders the compiler only, and costs no instruction.
  static void light_fence() { std::atomic_signal_fence(std::memory_order_seq_cst); }

 private:
  struct Allocator;
  static constexpr size_t kRowBytes = kMaxColumns * sizeof(CountCell);

  static Allocator& allocator();
  static char* take_row();
  static CountCell* cell_at(char* where) { return reinterpret_cast<CountCell*>(where); }

  static inline char* the_table = nullptr;           // constant once there is a column
  static inline std::atomic<size_t> rows_taken = 0;  // ever taken; only grows
  static constinit thread_local char* my_row;
};

}  // namespace pmemd
