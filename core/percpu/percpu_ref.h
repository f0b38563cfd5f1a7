// A reference count that can be killed and drained, without contention between threads.
//
// Live: tryget_live() succeeds, and costs about as much as adding to a plain variable: each thread
// counts in a cell of its own. Killed: the count is one atomic word, tryget_live() fails from the
// moment kill() returns, while tryget() still succeeds as long as anybody holds a reference. When
// the count reaches zero after the kill, the release callback runs, and then wait() returns.
// reinit() begins a new life, resurrect() takes a kill back; only the owner of the object may call
// them.
//
// Invariants:
//  1. From zero the count rises only through reinit() or resurrect().
//  2. The initial reference belongs to the owner; kill() drops it.
//  3. After kill() has returned, no tryget_live() succeeds (until reinit() or resurrect()).
//  4. The release callback runs once for each time that the count reaches zero: in the thread that
//     put the last reference, without a lock of ours, before wait() or is_drained() reports it.
//  5. Once wait() has succeeded, no thread that put a reference touches the object: it may be
//     destroyed.
// What was done under a reference happens before the release callback and the return of wait().
//
// Thread contract: every function from any thread, except that kill(), reinit() and resurrect() are
// the owner's and are not called at the same time. Not for signal handlers. A thread that is
// stopped between two instructions of a get or put (by a debugger, say) blocks kill() as well.
// Models: lib/percpu-refcount.c percpu_ref_kill_and_confirm(), percpu_ref_tryget_live(),
// percpu_ref_tryget(), percpu_ref_reinit(), percpu_ref_resurrect() @v6.12; differs: kill() returns
// confirmed (the kernel has a callback for that), and wait() is built in. The protocol, and why it
// is correct: core/percpu/percpu_count.h. Why it was chosen: docs/adr/0007-percpu-ref.md.
#pragma once

#include <cstdint>
#include <functional>
#include <utility>

#include "core/base/error.h"
#include "core/base/mutex.h"
#include "core/percpu/percpu_count.h"
#include "core/percpu/thread_cells.h"

namespace pmemd {

// The Machine that PercpuCount runs on outside tests.
struct NativeMachine {
  using Word = std::atomic<uint64_t>;
  using Cell = CountCell;
  using Column = ThreadCells::Column;
  static constexpr Column kNoColumn = ThreadCells::kNoColumn;

  static Cell* my_cell(Column column) { return ThreadCells::mine(column); }
  template <class Visit>
  static void for_each_cell(Column column, Visit visit) {
    ThreadCells::for_each(column, visit);
  }
  static void light_fence() { ThreadCells::light_fence(); }
  static void heavy_fence() { ThreadCells::heavy_fence(); }
  static uint64_t await_clear(const Word& word, uint64_t bits);
  static void insist(bool holds, const char* what) {
    if (!holds) [[unlikely]]
      give_up(what);
  }

 private:
  [[noreturn]] static void give_up(const char* what);
};

class PercpuRef {
 public:
  PercpuRef() : PercpuRef(nullptr) {}
  // Starts dead and drained; reinit() makes it live. `release`, if any, must neither destroy the
  // object nor call its reinit() or resurrect(): only the waiter may.
  explicit PercpuRef(std::function<void()> release);
  PercpuRef(const PercpuRef&) = delete;
  PercpuRef& operator=(const PercpuRef&) = delete;
  ~PercpuRef();  // asserts: drained

  // RAII reference; move-only. Only tryget_live() and tryget() make one.
  class Ref {
   public:
    Ref() = default;
    Ref(Ref&& other) noexcept : ref_(std::exchange(other.ref_, nullptr)) {}
    Ref& operator=(Ref&& other) noexcept {
      if (this != &other) {
        reset();
        ref_ = std::exchange(other.ref_, nullptr);
      }
      return *this;
    }
    ~Ref() { reset(); }
    explicit operator bool() const { return ref_ != nullptr; }
    void reset() {
      if (ref_ != nullptr) std::exchange(ref_, nullptr)->put();
    }
    // Gives the reference up without putting it; the caller now owes a put().
    void release() { ref_ = nullptr; }

   private:
    friend class PercpuRef;
    explicit Ref(PercpuRef* ref) : ref_(ref) {}
    PercpuRef* ref_ = nullptr;
  };

  void reinit() PMEMD_EXCLUDES(mutex_);  // drained → live; asserts that it was drained
  void kill();                           // live → dying; asserts that it was live
  // dying → live, drained or not; asserts that it was dying. Nobody may be in wait(). If the count
  // has come to zero, waits for the release callback to end.
  void resurrect() PMEMD_EXCLUDES(mutex_);

  Ref tryget_live() { return Ref(tryget_live_many(1) ? this : nullptr); }  // empty once killed
  Ref tryget() { return Ref(tryget_many(1) ? this : nullptr); }            // empty only at zero
  void put() { put_many(1); }

  // Takes n references in one step, or none; the caller owes put_many(n), at once or in parts, from
  // any thread. n may be 0.
  [[nodiscard]] bool tryget_live_many(uint64_t n) { return count_.tryget_live_many(n); }
  [[nodiscard]] bool tryget_many(uint64_t n) { return count_.tryget_many(n); }
  // The caller holds a reference, if only the initial one.
  void get_many(uint64_t n) { count_.get_many(n); }
  // Asserts, at once or at the kill, that there were that many.
  void put_many(uint64_t n) {
    if (n != 0 && count_.put_many(n)) [[unlikely]]
      finish();
  }

  // Waits until killed and drained. ETIMEDOUT: the deadline passed with references left.
  Result<void> wait(Deadline deadline) PMEMD_EXCLUDES(mutex_);

  bool is_dying() const { return count_.is_dying(); }
  bool is_drained() const PMEMD_EXCLUDES(mutex_);
  // References held, without the owner's initial one. Exact while nobody changes it; a snapshot
  // otherwise.
  uint64_t count() const { return count_.count(); }

 private:
  void finish() PMEMD_EXCLUDES(mutex_);

  const std::function<void()> release_;
  const ThreadCells::Column column_;
  PercpuCount<NativeMachine> count_;
  mutable Mutex mutex_;
  CondVar drained_cv_;
  // More than "the count is zero": the thread that brought it there has left the object, too.
  bool drained_ PMEMD_GUARDED_BY(mutex_) = true;
};

}  // namespace pmemd
