// Sleepable read-copy-update in user space: a waiter waits for earlier readers, not for new ones.
//
// Requests run inside a read section. Two operations wait for the sections that were open when they
// were called (and, while others already wait, for those opened until that wait is over; never for
// later ones):
//  - synchronize(): the killer of a device calls it before it counts what the kernel was lent;
//  - retire(): space that was taken from a file waits before another file gets it.
//
// Invariants:
//  1. A callback runs once, after every section that was open when it was retired has closed, in
//     a thread that closes a section or retires, without any lock held.
//  2. Callbacks run one at a time, in the order in which they were retired; so when synchronize()
//     returns, all callbacks retired before it have run.
//  3. Sections never wait for anything here; a steady stream of new sections delays nobody.
//
// Thread contract: all functions from any thread; a section must not call synchronize().
// Models: kernel/rcu/srcutree.c srcu_read_lock(), synchronize_srcu(), call_srcu() @v6.12 and
// drivers/dax/super.c dax_read_lock(), kill_dax() @v6.12; differs: one mutex instead of per-CPU
// counters, and synchronize() has a deadline.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <utility>

#include "core/base/error.h"
#include "core/base/mutex.h"

namespace pmemd {

class Srcu {
 public:
  Srcu() = default;
  Srcu(const Srcu&) = delete;
  Srcu& operator=(const Srcu&) = delete;
  // May run right after a synchronize() that succeeded. Asserts: no section open, no callback left.
  ~Srcu();

  // RAII read section. Movable; an empty one closes nothing.
  class ReadSection {
   public:
    ReadSection() = default;
    ReadSection(ReadSection&& other) noexcept
        : srcu_(std::exchange(other.srcu_, nullptr)), slot_(other.slot_) {}
    ReadSection& operator=(ReadSection&& other) noexcept;
    ~ReadSection() { close(); }
    void close();

   private:
    friend class Srcu;
    ReadSection(Srcu* srcu, unsigned slot) : srcu_(srcu), slot_(slot) {}
    Srcu* srcu_ = nullptr;
    unsigned slot_ = 0;
  };

  ReadSection read_lock() PMEMD_EXCLUDES(mutex_);

  // Returns when every section open at the call has closed. ETIMEDOUT: the deadline passed first.
  Result<void> synchronize(Deadline deadline) PMEMD_EXCLUDES(mutex_);

  // Runs `callback` once every section that is open now has closed.
  void retire(std::function<void()> callback) PMEMD_EXCLUDES(mutex_);

  uint64_t open_sections() const PMEMD_EXCLUDES(mutex_);

 private:
  using Callbacks = std::deque<std::function<void()>>;

  void read_unlock(unsigned slot) PMEMD_EXCLUDES(mutex_);
  // Ends grace periods while the older slot is empty; their callbacks become ready.
  void advance() PMEMD_REQUIRES(mutex_);
  // True: the caller must call run_ready(). False: nothing is ready, or another thread is already
  // running it.
  bool must_run() PMEMD_REQUIRES(mutex_);
  void run_ready() PMEMD_EXCLUDES(mutex_);

  mutable Mutex mutex_;
  unsigned current_ PMEMD_GUARDED_BY(mutex_) = 0;  // the slot that new sections enter
  std::array<uint64_t, 2> readers_ PMEMD_GUARDED_BY(mutex_) = {};
  Callbacks waiting_ PMEMD_GUARDED_BY(mutex_);  // on the other slot: the grace period under way
  Callbacks next_ PMEMD_GUARDED_BY(mutex_);     // on the one after it
  Callbacks ready_ PMEMD_GUARDED_BY(mutex_);    // on nothing
  bool running_ PMEMD_GUARDED_BY(mutex_) = false;
  CondVar idle_cv_;  // running_ has become false
};

}  // namespace pmemd
