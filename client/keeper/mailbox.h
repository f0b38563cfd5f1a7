// Requests from any thread or signal handler to one thread that serves them.
//
// A fixed number of slots, claimed by compare-and-swap. A caller waits on a futex, with a deadline;
// a caller that gives up leaves the slot to the server, which then undoes what it did.
//
// Thread contract: call() from any thread and signal handler; serve() and the functions after it by
// one thread.
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

// The arguments and results of each operation. `file` and `id` of an attachment are results.
struct mail {
  enum MailOp op;
  int fd;           // MAIL_ATTACH: in the table of thread `tid`
  int access_mode;  // of fd: O_RDONLY, O_WRONLY, O_RDWR
  int32_t tid;
  uint64_t device, inode;  // fd's file; another thread may have put another file there since
  KeeperFile file;
  struct keeper_range range;
  uint64_t id;
  struct pmemd_query query;
  struct pmemd_answer answer;
  struct pmemd_event event;
  void (*work)(void);  // MAIL_RUN
};

// Posts `mail`, waits, and fills in the results. Returns the server's result; -ETIMEDOUT.
// Async-signal-safe.
int mail_call(struct mail* mail, int deadline_ms);

// Serves the posted mail; false: there was none. `undo` runs when nobody waits for the results any
// more.
typedef int (*MailServe)(struct mail* mail);
typedef void (*MailUndo)(struct mail* mail, int result);
bool mail_serve(MailServe serve, MailUndo undo);
// Sleeps until something is posted; `seen` was read before serve() found nothing.
uint32_t mail_posted(void);
void mail_wait(uint32_t seen);
// Frees all slots: nobody waits, nobody serves (the child of a fork).
void mail_reset(void);

#ifdef __cplusplus
}
#endif
