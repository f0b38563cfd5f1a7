#include "client/keeper/mailbox.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { kSlots = 32 };

enum SlotState { FREE, CLAIMED, POSTED, DONE, ABANDONED };

static struct {
  _Atomic uint32_t state;
  int result;
  struct mail mail;
} slots[kSlots];

// Counts posts, so that the server doesn't sleep through one.
static _Atomic uint32_t posted;

static void futex_wake(_Atomic uint32_t* word) {
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

// `deadline` is on CLOCK_MONOTONIC; NULL: none.
static void futex_wait(_Atomic uint32_t* word, uint32_t value, const struct timespec* deadline) {
  syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, value, deadline, NULL,
          FUTEX_BITSET_MATCH_ANY);
}

static struct timespec deadline_in(int ms) {
  struct timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  at.tv_sec += ms / 1000;
  at.tv_nsec += (long)(ms % 1000) * 1000000;
  if (at.tv_nsec >= 1000000000) {
    at.tv_nsec -= 1000000000;
    ++at.tv_sec;
  }
  return at;
}

static bool passed(const struct timespec* deadline) {
  const struct timespec now = deadline_in(0);
  return now.tv_sec != deadline->tv_sec ? now.tv_sec > deadline->tv_sec
                                        : now.tv_nsec >= deadline->tv_nsec;
}

static int claim(const struct timespec* deadline) {
  do {
    for (int i = 0; i < kSlots; ++i) {
      uint32_t expected = FREE;
      if (atomic_compare_exchange_strong(&slots[i].state, &expected, CLAIMED)) return i;
    }
    sched_yield();
  } while (!passed(deadline));
  return -1;
}

// Results go to the caller, or, after the deadline, to nobody.
static int collect(int slot, struct mail* mail, const struct timespec* deadline) {
  while (atomic_load(&slots[slot].state) == POSTED && !passed(deadline)) {
    futex_wait(&slots[slot].state, POSTED, deadline);
  }
  uint32_t expected = POSTED;
  if (atomic_compare_exchange_strong(&slots[slot].state, &expected, ABANDONED)) return -ETIMEDOUT;
  const int result = slots[slot].result;
  *mail = slots[slot].mail;
  atomic_store(&slots[slot].state, FREE);
  return result;
}

int mail_call(struct mail* mail, int deadline_ms) {
  // A handler that ran here might leave by siglongjmp, and leave the slot claimed for ever.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  const struct timespec deadline = deadline_in(deadline_ms);
  const int slot = claim(&deadline);
  int result = -ETIMEDOUT;
  if (slot >= 0) {
    slots[slot].mail = *mail;
    atomic_store(&slots[slot].state, POSTED);
    atomic_fetch_add(&posted, 1);
    futex_wake(&posted);
    result = collect(slot, mail, &deadline);
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return result;
}

bool mail_serve(MailServe serve, MailUndo undo) {
  bool any = false;
  for (int i = 0; i < kSlots; ++i) {
    uint32_t state = atomic_load(&slots[i].state);
    if (state != POSTED && state != ABANDONED) continue;
    any = true;
    if (state == POSTED) {
      // A copy: the slot's own mail isn't written until the results are.
      struct mail mail = slots[i].mail;
      const int result = serve(&mail);
      slots[i].result = result;
      slots[i].mail = mail;
      if (atomic_compare_exchange_strong(&slots[i].state, &state, DONE)) {
        futex_wake(&slots[i].state);
        continue;
      }
      undo(&mail, result);
    }
    atomic_store(&slots[i].state, FREE);
  }
  return any;
}

uint32_t mail_posted(void) { return atomic_load(&posted); }

void mail_wait(uint32_t seen) { futex_wait(&posted, seen, NULL); }

void mail_reset(void) {
  for (int i = 0; i < kSlots; ++i) atomic_store(&slots[i].state, FREE);
}
