// Memory in which threads count without sharing a cache line.
//
// A table: a row for each thread, a column for each PercpuRef, a cell where they meet. A row is
// memory of its own pages, so no two threads write to one line; the columns of a row lie side by
// side, so a reference costs 16 bytes a thread that counts, not a line (the layout of the kernel's
// per-CPU allocator, mm/percpu.c @v6.12). The table is one mapping of 128 MiB of which the kernel
// gives a page when it is first touched.
//
// A thread takes a row when it first counts and gives it back at its end; the next thread goes on
// from the values that it finds. A thread that gets none (kMaxThreads have one, or it is at its
// end: a destructor of a thread_local) and a PercpuRef without a column count in the shared word of
// the PercpuRef, which is always right and only slower.
//
// Invariants:
//  1. A row has one owner at a time, and only he writes to it.
//  2. Values of a cell never go down, save by the low bit (core/percpu/percpu_count.h).
//  3. Where the kernel refuses membarrier(2) or the mapping, there are no columns: nobody counts in
//     cells without a heavy_fence() that works.
//
// Thread contract: any thread. Not for signal handlers: they would write to their thread's cell
// while it does.
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

  // Where in a row its cell begins, in bytes: to find it is one addition.
  using Column = size_t;
  static constexpr Column kNoColumn = 0;  // its cells exist, but nothing is counted in them

  // kNoColumn: all are taken, or there is no table.
  static Column take_column();
  // Nobody counts in it any more. kNoColumn is no error.
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

  // Calls visit(CountCell&) for each thread that has or had a row. Those that take one after a
  // heavy_fence() may be left out.
  template <class Visit>
  static void for_each(Column column, Visit visit) {
    const size_t rows = rows_taken.load(std::memory_order_acquire);
    for (size_t row = 0; row < rows; ++row) visit(*cell_at(the_table + row * kRowBytes + column));
  }

  // Every other thread of the process either had executed light_fence() before, and its stores
  // before that are visible to us; or it will, and sees after it what we stored before this.
  // A few microseconds: the kernel interrupts the CPUs that run our threads.
  static void heavy_fence();
  // The other half: keeps the compiler, and costs no instruction.
  static void light_fence() { std::atomic_signal_fence(std::memory_order_seq_cst); }

 private:
  struct Allocator;
  static constexpr size_t kRowBytes = kMaxColumns * sizeof(CountCell);

  static Allocator& allocator();
  static char* take_row();
  static CountCell* cell_at(char* where) { return reinterpret_cast<CountCell*>(where); }

  static inline char* the_table = nullptr;           // constant once there is a column
  static inline std::atomic<size_t> rows_taken = 0;  // that were ever taken; only grows
  static constinit thread_local char* my_row;
};

}  // namespace pmemd
