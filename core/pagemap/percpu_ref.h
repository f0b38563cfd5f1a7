// A reference count that can be killed and drained.
//
// Live: tryget_live() succeeds. Killed: it fails from the moment kill() returns, while tryget()
// still succeeds as long as anybody holds a reference. When the count is zero after the kill, the
// waiter of wait() goes on. reinit() begins a new life, resurrect() takes a kill back; only who
// owns the object may call them.
//
// Invariants:
//  1. From zero the count never rises but through reinit() or resurrect().
//  2. The initial reference belongs to the owner; kill() drops it.
//  3. After kill() has returned, no tryget_live() succeeds (until reinit() or resurrect()).
//
// Thread contract: every function from any thread, save that kill(), reinit() and resurrect() are
// the owner's and are not called at the same time.
// Models: lib/percpu-refcount.c percpu_ref_kill(), percpu_ref_tryget_live(), percpu_ref_tryget(),
// percpu_ref_reinit(), percpu_ref_resurrect() @v6.12; differs: one atomic count (the per-CPU mode
// has an issue of its own), and wait() with a deadline stands for the release callback and its
// completion.
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

#include "core/base/error.h"
#include "core/base/mutex.h"

namespace pmemd {

class PercpuRef {
 public:
  PercpuRef() = default;  // dead and drained; reinit() makes it live
  PercpuRef(const PercpuRef&) = delete;
  PercpuRef& operator=(const PercpuRef&) = delete;
  ~PercpuRef();  // asserts: drained

  // RAII reference; move-only. Made by tryget_live() and tryget() alone.
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
    // Gives the reference up without putting it; the taker owes a put().
    void release() { ref_ = nullptr; }

   private:
    friend class PercpuRef;
    explicit Ref(PercpuRef* ref) : ref_(ref) {}
    PercpuRef* ref_ = nullptr;
  };

  void reinit();     // drained → live
  void kill();       // live → dying; asserts that it was live
  void resurrect();  // dying → live, drained or not; nobody may be in wait()

  Ref tryget_live();              // empty once killed
  Ref tryget();                   // empty only at zero
  void get_many(uint64_t count);  // the caller holds one already, or is the owner of a live one
  void put();
  void put_many(uint64_t count);

  // Waits until killed and drained. ETIMEDOUT: the deadline passed with references left.
  Result<void> wait(Deadline deadline);

  bool is_dying() const { return (state_.load(std::memory_order_acquire) & kDead) != 0; }
  bool is_drained() const { return state_.load(std::memory_order_acquire) == kDead; }
  // References held, the owner's initial one left out. A snapshot.
  uint64_t count() const;

 private:
  static constexpr uint64_t kDead = 1;  // the low bit of state_; the rest counts, in steps of kOne
  static constexpr uint64_t kOne = 2;

  std::atomic<uint64_t> state_ = kDead;
  Mutex mutex_;  // only for sleeping in wait()
  CondVar drained_cv_;
};

}  // namespace pmemd
