// A few words that one thread writes at a time and signal handlers read at any moment.
//
// A reader copies, and copies again if a writer was active meanwhile. Writers exclude each other by
// a lock of their own, and block all signals: a handler on the writer's thread would wait for ever.
//
// Thread contract: readers: any thread and signal handler. What is guarded is _Atomic, read and
// written with memory_order_relaxed.
#pragma once

#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct seqlock {
  _Atomic uint32_t sequence;  // odd: a writer is active
};

// A write takes a few instructions; one that never ends was cut off by a fork.
enum { kSeqlockPatience = 1000000 };

static inline void seqlock_write_begin(struct seqlock* lock) {
  atomic_fetch_add_explicit(&lock->sequence, 1, memory_order_relaxed);
  atomic_thread_fence(memory_order_release);
}

static inline void seqlock_write_end(struct seqlock* lock) {
  atomic_fetch_add_explicit(&lock->sequence, 1, memory_order_release);
}

// False: the patience ran out.
static inline bool seqlock_read_begin(const struct seqlock* lock, uint32_t* sequence) {
  for (int i = 0; i < kSeqlockPatience; ++i) {
    *sequence = atomic_load_explicit(&lock->sequence, memory_order_acquire);
    if (*sequence % 2 == 0) return true;
    sched_yield();
  }
  return false;
}

// True: everything read since is of one state.
static inline bool seqlock_read_end(const struct seqlock* lock, uint32_t sequence) {
  atomic_thread_fence(memory_order_acquire);
  return atomic_load_explicit(&lock->sequence, memory_order_relaxed) == sequence;
}
