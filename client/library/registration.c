// Registrations, and the thread (the caller) that runs their callbacks.
//
// An event goes from the keeper's watcher, through a ring, to the caller. If the ring is full, the
// watcher waits; the daemon then keeps at most PMEMD_EVENTS_MAX for us and counts the rest.
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "client/keeper/keeper.h"
#include "client/pmemd_client.h"

struct pmemd_registration {
  struct pmemd_registration* next;
  pmemd_callback callback;
  void* context;
  enum KeeperKind kind;
  KeeperFile file;
  uint64_t id;
  uint64_t life;      // process_life when it was made
  bool ended_inside;  // by its own callback: only the caller frees it
};

enum { kRing = 64 };

struct delivery {
  struct pmemd_event event;
  struct pmemd_registration* to;  // NULL: it was unregistered
};

// Lock order: `lives` (starting and stopping the threads), then `lock`, which guards what is
// declared below it. The watcher and the caller take `lock` for moments; pmemd_register() holds it
// while it asks the daemon, since an event may come before its id is known here.
static pthread_mutex_t lives = PTHREAD_MUTEX_INITIALIZER;
static unsigned count;  // attached registrations; guarded by lives
static pthread_t caller;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct pmemd_registration* all;
static struct delivery ring[kRing];
static unsigned ring_first, ring_used;
static struct pmemd_registration* called;  // its callback is running
static bool stopping;

// Incremented by each fork, so that a child recognises what it inherited.
static _Atomic uint64_t process_life;

// --- the watcher

static struct pmemd_registration* find(KeeperFile file, uint64_t id) {
  for (struct pmemd_registration* each = all; each; each = each->next) {
    if (each->file.slot == file.slot && each->file.life == file.life && each->id == id) return each;
  }
  return NULL;
}

static void on_event(KeeperFile file, const struct pmemd_event* event) {
  pthread_mutex_lock(&lock);
  while (ring_used == kRing && !stopping) pthread_cond_wait(&changed, &lock);
  struct pmemd_registration* to = stopping ? NULL : find(file, event->id);
  if (to) {
    ring[(ring_first + ring_used++) % kRing] = (struct delivery){*event, to};
    pthread_cond_broadcast(&changed);
  }
  pthread_mutex_unlock(&lock);
}

// --- the caller

static void stop_threads(void) {
  pthread_mutex_lock(&lock);
  stopping = true;
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&lock);
  keeper_stop();
  if (pthread_equal(pthread_self(), caller)) {
    pthread_detach(caller);
  } else {
    pthread_join(caller, NULL);
  }
}

static void end(struct pmemd_registration* registration) {
  pthread_mutex_lock(&lives);
  if (registration->life == atomic_load(&process_life)) {
    keeper_detach(registration->file, registration->kind, registration->id);
    if (--count == 0) stop_threads();
  }
  pthread_mutex_unlock(&lives);
  free(registration);
}

// The lock is held on entry and on return. False: this is the child of a fork in the callback.
static bool deliver(const struct delivery* delivery) {
  struct pmemd_registration* to = delivery->to;
  const uint64_t life = atomic_load(&process_life);
  called = to;
  pthread_mutex_unlock(&lock);
  const int value = to->callback(&delivery->event, to->context);
  if (atomic_load(&process_life) != life) return false;
  if ((delivery->event.flags & PMEMD_EVENT_WANTS_ANSWER) != 0) {
    const struct pmemd_answer answer = {delivery->event.seq, to->id, (uint32_t)value, 0};
    keeper_answer(to->file, &answer);
  }
  pthread_mutex_lock(&lock);
  const bool ended_inside = to->ended_inside;  // if not, `to` may go with the lock
  called = NULL;
  pthread_cond_broadcast(&changed);
  if (ended_inside) {
    pthread_mutex_unlock(&lock);
    end(to);
    pthread_mutex_lock(&lock);
  }
  return true;
}

static void* call(void* unused) {
  (void)unused;
  pthread_setname_np(pthread_self(), "pmemd-callback");
  pthread_mutex_lock(&lock);
  while (!stopping) {
    if (ring_used == 0) {
      pthread_cond_wait(&changed, &lock);
      continue;
    }
    const struct delivery delivery = ring[ring_first];
    ring_first = (ring_first + 1) % kRing;
    --ring_used;
    pthread_cond_broadcast(&changed);
    if (delivery.to && !deliver(&delivery)) return NULL;
  }
  pthread_mutex_unlock(&lock);
  return NULL;
}

static int start_threads(void) {
  ring_used = 0;
  stopping = false;
  int result = keeper_start(on_event);
  if (result != 0) return result;
  sigset_t every, before;
  sigfillset(&every);
  pthread_sigmask(SIG_BLOCK, &every, &before);
  result = -pthread_create(&caller, NULL, call, NULL);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (result != 0) keeper_stop();
  return result;
}

// --- forks

static void before_fork(void) {
  pthread_mutex_lock(&lives);
  pthread_mutex_lock(&lock);
}

static void after_fork_in_parent(void) {
  pthread_mutex_unlock(&lock);
  pthread_mutex_unlock(&lives);
}

static void after_fork_in_child(void) {
  atomic_fetch_add(&process_life, 1);
  keeper_forget();
  count = 0;
  all = NULL;
  called = NULL;
  ring_used = 0;
  pthread_cond_init(&changed, NULL);  // its waiters are in the parent
  pthread_mutex_unlock(&lock);
  pthread_mutex_unlock(&lives);
}

static void watch_forks(void) {
  pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

// --- the calls

int pmemd_is_ours(int fd) {
  const int saved = errno;
  struct pmemd_info info;
  int result = ioctl(fd, PMEMD_IOC_INFO, &info) == 0 ? 1 : 0;
  if (result == 0 && errno == EBADF) result = -EBADF;
  errno = saved;
  return result;
}

static int attach(int fd, const struct keeper_range* range, struct pmemd_registration* made) {
  pthread_mutex_lock(&lives);
  int result = count == 0 ? start_threads() : 0;
  if (result == 0) {
    pthread_mutex_lock(&lock);
    result = keeper_attach(fd, range, &made->file, &made->id);
    if (result == 0) {
      made->life = atomic_load(&process_life);
      made->next = all;
      all = made;
      ++count;
    }
    pthread_mutex_unlock(&lock);
    if (count == 0) stop_threads();
  }
  pthread_mutex_unlock(&lives);
  return result;
}

static int register_range(int fd, const struct keeper_range* range, pmemd_callback callback,
                          void* context, struct pmemd_registration** registration) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, watch_forks);
  struct pmemd_registration* made = calloc(1, sizeof(*made));
  if (!made) return -ENOMEM;
  made->callback = callback;
  made->context = context;
  made->kind = range->kind;
  const int saved = errno;
  const int result = attach(fd, range, made);
  errno = saved;
  if (result == 0) {
    *registration = made;
  } else {
    free(made);
  }
  return result;
}

int pmemd_register(int fd, uint64_t offset, uint64_t length, void* address, pmemd_callback callback,
                   void* context, struct pmemd_registration** registration) {
  const struct keeper_range range = {
      .kind = KEEPER_MAPPING, .offset = offset, .length = length, .address = (uintptr_t)address};
  return register_range(fd, &range, callback, context, registration);
}

int pmemd_register_takeover(int fd, uint64_t offset, uint64_t length, uint32_t timeout_ms,
                            pmemd_callback callback, void* context,
                            struct pmemd_registration** registration) {
  const struct keeper_range range = {
      .kind = KEEPER_TAKEOVER, .timeout_ms = timeout_ms, .offset = offset, .length = length};
  return register_range(fd, &range, callback, context, registration);
}

static void forget(const struct pmemd_registration* registration) {
  for (struct pmemd_registration** at = &all; *at; at = &(*at)->next) {
    if (*at == registration) {
      *at = registration->next;
      break;
    }
  }
  for (unsigned i = 0; i < ring_used; ++i) {
    struct delivery* delivery = &ring[(ring_first + i) % kRing];
    if (delivery->to == registration) delivery->to = NULL;
  }
}

void pmemd_unregister(struct pmemd_registration* registration) {
  if (!registration) return;
  const int saved = errno;
  pthread_mutex_lock(&lock);
  forget(registration);
  const bool in_its_callback = called == registration && pthread_equal(pthread_self(), caller);
  registration->ended_inside = in_its_callback;
  while (called == registration && !in_its_callback) pthread_cond_wait(&changed, &lock);
  pthread_mutex_unlock(&lock);
  if (!in_its_callback) end(registration);  // else deliver() does, after the callback
  errno = saved;
}
