// Holds the program's files open without affecting the program, and talks to the daemon through
// them.
//
// A descriptor in the program's own table would do harm: closing it drops the program's POSIX locks
// on the file (fcntl(2)), a fork or an exec passes it on or closes it, closefrom() takes it away.
// So two threads have a table of their own (close_range(2) with CLOSE_RANGE_UNSHARE):
// - `asker` alone opens files, asks the daemon and closes files;
// - `watcher` waits for events and passes them to the sink.
//
// Thread contract: one thread at a time starts and stops it; any thread calls the rest, and signal
// handlers may call keeper_query(). A call waits for the daemon for at most kAnswerDeadlineMs; a
// later result is undone. All signals are blocked during a call, and always in both threads.
//
// Invariants
// 1. Files, their counts and descriptors are the asker's alone; others name them by KeeperFile.
// 2. No descriptor of the keeper is below 3: code that writes to "stderr" there can't hit a file.
// 3. The sink is called by the watcher alone, with no lock held.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "client/pmemd_ioctl.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { kAnswerDeadlineMs = 2000 };

// `life` distinguishes a file from earlier ones in its slot. {0, 0}: none.
typedef struct {
  uint32_t slot;
  uint32_t life;
} KeeperFile;

enum KeeperKind {
  KEEPER_MAPPING,     // registered, or an error
  KEEPER_TAKEOVER,    // the same
  KEEPER_IF_POSSIBLE  // a mapping; clipped to the file, and held without an id if it can't be
                      // registered
};

struct keeper_range {
  enum KeeperKind kind;
  uint32_t timeout_ms;  // of a takeover
  uint64_t offset, length;
  uint64_t address;  // of a mapping; 0 and KEEPER_IF_POSSIBLE: not registered at all
};

typedef void (*KeeperSink)(KeeperFile file, const struct pmemd_event* event);

// Does nothing if it runs already. -EAGAIN, -ENOMEM: no thread. -EPERM, -ENOSYS: no descriptor
// table of its own (a filter; Linux before 5.9).
int keeper_start(KeeperSink sink);
// Closes all files and returns when both threads have ended. If the daemon delays one of them
// beyond the deadline, they keep running, and the next start uses them.
void keeper_stop(void);
bool keeper_runs(void);
bool keeper_has_thread(int32_t thread);
// Called in the child of a fork: there are no threads, and no files.
void keeper_forget(void);

// Opens the file of `fd` anew, or uses the one that is already open, and registers the range.
// Returns 0 or -errno as the ioctl; -EBADF, -ENOTTY; -ETIMEDOUT; -ESRCH also: the keeper doesn't
// run.
int keeper_attach(int fd, const struct keeper_range* range, KeeperFile* file, uint64_t* id);
// Registers another range of a file that the keeper holds.
int keeper_attach_again(KeeperFile file, const struct keeper_range* range, uint64_t* id);
// Ends one attachment; ending a file's last one closes the file.
void keeper_detach(KeeperFile file, enum KeeperKind kind, uint64_t id);
// Finds the first bad range in the given one, which is clipped to the file. Async-signal-safe.
int keeper_query(KeeperFile file, struct pmemd_query* query);
int keeper_answer(KeeperFile file, const struct pmemd_answer* answer);
// Runs `work` on the asker, which reads no event meanwhile. `work` may call the functions above;
// they run at once there. -ETIMEDOUT: `work` isn't done yet, and may never start.
int keeper_run(void (*work)(void));

#ifdef __cplusplus
}
#endif
