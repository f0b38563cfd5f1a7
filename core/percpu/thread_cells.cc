#include "core/percpu/thread_cells.h"

#include <linux/membarrier.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cassert>
#include <cerrno>
#include <utility>
#include <vector>

#include "core/base/mutex.h"

namespace pmemd {
namespace {

bool membarrier(int command) { return syscall(SYS_membarrier, command, 0, 0) == 0; }

// Null where the process may not map it. All zeros, which is what atomics of 0 look like.
char* map_table() {
  constexpr size_t kBytes = ThreadCells::kMaxThreads * ThreadCells::kMaxColumns * sizeof(CountCell);
  if (!membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED)) return nullptr;
  void* const memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  // A huge page is two rows: each thread would pay for all columns. If refused, it only costs
  // memory.
  (void)madvise(memory, kBytes, MADV_NOHUGEPAGE);
  return static_cast<char*>(memory);
}

}  // namespace

struct ThreadCells::Allocator {
  // Runs when a thread with a row ends.
  struct RowOwner {
    ~RowOwner() {
      Allocator& all = allocator();
      MutexLock lock(all.mutex);
      all.free_rows.push_back(my_row);
      my_row = nullptr;
    }
  };

  Allocator() {
    the_table = map_table();
    free_rows.reserve(kMaxThreads);  // a thread's end allocates nothing
  }

  Mutex mutex;
  // Last in, first out: the rows in use stay together.
  std::vector<char*> free_rows PMEMD_GUARDED_BY(mutex);
  std::vector<Column> free_columns PMEMD_GUARDED_BY(mutex);
  Column next_column PMEMD_GUARDED_BY(mutex) = kNoColumn + sizeof(CountCell);  // never taken yet
};

constinit thread_local char* ThreadCells::my_row = nullptr;

// Never destroyed: threads and static objects may count after main() has returned.
ThreadCells::Allocator& ThreadCells::allocator() {
  static auto* const all = new Allocator;
  return *all;
}

ThreadCells::Column ThreadCells::take_column() {
  Allocator& all = allocator();
  if (the_table == nullptr) return kNoColumn;
  MutexLock lock(all.mutex);
  if (!all.free_columns.empty()) {
    const Column column = all.free_columns.back();
    all.free_columns.pop_back();
    return column;
  }
  if (all.next_column == kRowBytes) return kNoColumn;
  return std::exchange(all.next_column, all.next_column + sizeof(CountCell));
}

void ThreadCells::give_back_column(Column column) {
  if (column == kNoColumn) return;
  Allocator& all = allocator();
  MutexLock lock(all.mutex);
  all.free_columns.push_back(column);
}

char* ThreadCells::take_row() {
  static constinit thread_local bool asked = false;  // once a thread; stays true at its end
  if (asked) return nullptr;
  asked = true;
  Allocator& all = allocator();
  if (the_table == nullptr) return nullptr;
  {
    MutexLock lock(all.mutex);
    const size_t rows = rows_taken.load(std::memory_order_relaxed);
    if (!all.free_rows.empty()) {
      my_row = all.free_rows.back();
      all.free_rows.pop_back();
    } else if (rows < kMaxThreads) {
      my_row = the_table + rows * kRowBytes;
      // Before the thread's first light_fence(), so that a killer sees it as it sees its cells.
      rows_taken.store(rows + 1, std::memory_order_release);
    }
  }
  if (my_row != nullptr) {
    static thread_local Allocator::RowOwner owner;
    (void)owner;
  }
  return my_row;
}

void ThreadCells::heavy_fence() {
  if (the_table == nullptr) return;  // nobody counts in cells
  if (membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED)) return;
  // The child of a fork() may have to register anew.
  const bool done = errno == EPERM && membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) &&
                    membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
  assert(done && "membarrier: the kernel took it back");
  (void)done;
}

}  // namespace pmemd
