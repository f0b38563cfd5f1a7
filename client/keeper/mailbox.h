// Requests from any thread or signal handler to one thread that serves them.
//
// A fixed number of slots, claimed by compare-and-swap; who waits, waits on a futex, with a
// deadline. Who gives up leaves the slot to the server, which then undoes what it did.
//
// Thread contract: call() from any thread and signal handler; serve() and what follows by one
// thread.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "client/keeper/keeper.h"

#ifdef __cplusplus
extern "C" {
#endif

enum MailOp {
  MAIL_ATTACH,
  MAIL_ATTACH_AGAIN,
  MAIL_DETACH,
  MAIL_QUERY,
  MAIL_ANSWER,
  MAIL_READ,
  MAIL_RUN,
  MAIL_END,
  MAIL_WATCHER_ENDS
};

// What each operation takes and gives. `file` and `id` of an attachment are results.
struct mail {
  enum MailOp op;
  int fd;           // MAIL_ATTACH: in the table of thread `tid`
  int access_mode;  // of fd: O_RDONLY, O_WRONLY, O_RDWR
  int32_t tid;
  uint64_t device, inode;  // what fd is; another thread may have put another file there meanwhile
  KeeperFile file;
  struct keeper_range range;
  uint64_t id;
  struct pmemd_query query;
  struct pmemd_answer answer;
  struct pmemd_event event;
  void (*work)(void);  // MAIL_RUN
};

// Posts it, waits, and has the results in it. Returns what the server said; -ETIMEDOUT.
// Async-signal-safe.
int mail_call(struct mail* mail, int deadline_ms);

// Serves what is there; false: there was nothing. `undo`: nobody waits for the results any more.
typedef int (*MailServe)(struct mail* mail);
typedef void (*MailUndo)(struct mail* mail, int result);
bool mail_serve(MailServe serve, MailUndo undo);
// Sleeps until something is posted; `seen` is from before serve() found nothing.
uint32_t mail_posted(void);
void mail_wait(uint32_t seen);
// All slots are free: nobody waits, nobody serves (the child of a fork).
void mail_reset(void);

#ifdef __cplusplus
}
#endif
