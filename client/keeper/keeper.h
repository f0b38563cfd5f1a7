// Holds files of the program open where the program can't feel it, and talks to the daemon through
// them.
//
// A descriptor in the program's own table would do harm: closing it drops the program's POSIX locks
// on the file (fcntl(2)), a fork or an exec passes it on or closes it, closefrom() takes it away.
// So two threads have a table of their own (close_range(2) with CLOSE_RANGE_UNSHARE): `asker` alone
// opens, asks and closes; `watcher` waits for events, and gives them to the sink.
//
// Thread contract: start and stop by one thread at a time; all else from any thread, and
// keeper_query() from signal handlers too. A call waits for the daemon for kAnswerDeadlineMs at
// most; what is done for it later is undone. All signals are blocked meanwhile, and always in both
// threads.
//
// Invariants
// 1. Files, their counts and descriptors are the asker's alone; others name them by KeeperFile.
// 2. No descriptor of the keeper's is below 3: whatever writes to "stderr" there can't hit a file.
// 3. The sink is called by the watcher alone, with no lock held.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "client/pmemd_ioctl.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { kAnswerDeadlineMs = 2000 };

// `life` tells a file from others that had its slot. {0, 0}: none.
typedef struct {
  uint32_t slot;
  uint32_t life;
} KeeperFile;

enum KeeperKind {
  KEEPER_MAPPING,     // registered; what can't be is an error
  KEEPER_TAKEOVER,    // the same
  KEEPER_IF_POSSIBLE  // a mapping; clipped to the file, and held without an id if it can't be told
                      // of
};

struct keeper_range {
  enum KeeperKind kind;
  uint32_t timeout_ms;  // of a takeover
  uint64_t offset, length;
  uint64_t address;  // of a mapping; 0 and KEEPER_IF_POSSIBLE: not told of at all
};

typedef void (*KeeperSink)(KeeperFile file, const struct pmemd_event* event);

// Nothing, if it runs. -EAGAIN, -ENOMEM: no thread. -EPERM, -ENOSYS: no table of its own (a filter;
// Linux before 5.9).
int keeper_start(KeeperSink sink);
// Returns when both threads have ended; all files are closed. If the daemon holds one of them up
// for longer than the deadline, they go on running, and are there for the next start.
void keeper_stop(void);
bool keeper_runs(void);
bool keeper_has_thread(int32_t thread);
// In the child of a fork: there are no threads, and no files.
void keeper_forget(void);

// Opens the file of `fd` anew, or takes the one that is open, and registers the range. 0, -errno as
// the ioctl; -EBADF, -ENOTTY; -ETIMEDOUT; -ESRCH also: it doesn't run.
int keeper_attach(int fd, const struct keeper_range* range, KeeperFile* file, uint64_t* id);
// Another range of a file that is held.
int keeper_attach_again(KeeperFile file, const struct keeper_range* range, uint64_t* id);
// Ends one attachment; with a file's last one the file is closed.
void keeper_detach(KeeperFile file, enum KeeperKind kind, uint64_t id);
// The first bad range in the given one, which is clipped to the file. Async-signal-safe.
int keeper_query(KeeperFile file, struct pmemd_query* query);
int keeper_answer(KeeperFile file, const struct pmemd_answer* answer);
// Runs `work` on the asker, where no event is read meanwhile. It may call the functions above,
// which are done at once there. -ETIMEDOUT: it isn't done yet, and perhaps won't be begun.
int keeper_run(void (*work)(void));

#ifdef __cplusplus
}
#endif
