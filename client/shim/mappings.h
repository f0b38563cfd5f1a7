// Tracks the mappings of our files, and keeps registrations in step with them.
//
// A system call that changes mappings can block for any time (MAP_POPULATE reads the file). So
// nothing is held across it: the mappings that it will remove leave the table before the call, as a
// `Change`, and are dropped, moved or put back when the call has returned. If the kernel gives the
// address to another thread meanwhile, the table gives it to that thread, too.
//
// Registrations lag behind: the table says which mappings want one, and mappings_settle() makes the
// keeper's thread catch up. Only that thread asks the daemon, one question at a time.
//
// Thread contract: any thread, and signal handlers; mappings_start() and mappings_forget() by one.
// The lock is held only across accesses to memory, with all signals blocked.
//
// Invariants
// 1. A mapping in the table that isn't `attached` wants to be: settling attaches it.
// 2. An attached mapping that has left the table is detached only when no mapping of its file waits
//    to be attached: the file stays open.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "client/keeper/keeper.h"
#include "client/shim/mapping_table.h"

#ifdef __cplusplus
extern "C" {
#endif

struct registrar {
  int (*attach_again)(KeeperFile file, const struct keeper_range* range, uint64_t* id);
  void (*detach)(KeeperFile file, enum KeeperKind kind, uint64_t id);
  // Runs `work` on the thread that calls the two above, one at a time; returns when it is done, or
  // at the deadline.
  void (*run)(void (*work)(void));
};
void mappings_start(const struct registrar* registrar);

typedef uint64_t Change;  // 0: none

// [from, from_end) is now at [to, to_end).
struct remap {
  uintptr_t from, from_end;
  uintptr_t to, to_end;
};

// Takes [start, end) out of the table. 0: no mapping of ours is there.
Change mappings_take(uintptr_t start, uintptr_t end);
// The call failed: puts the mappings back, except where others have mapped since.
void mappings_put_back(Change change);
// The mappings are gone.
void mappings_drop(Change change);
// They were moved, and may have become shorter or longer.
void mappings_move(Change change, const struct remap* remap);
// They were not taken, and are now at both places.
void mappings_copy(const struct remap* remap);
// They grew in place.
void mappings_grow(const struct remap* remap);
// Adds a new mapping. Takes over an attachment of its file without an id (keeper_attach() with
// address 0).
void mappings_add(const struct mapping* mapping);

// Registers and ends attachments so that they match all of the above.
void mappings_settle(void);

// Finds the first mapping of this file in [start, end), even if a call is about to change it.
bool mappings_find(KeeperFile file, uintptr_t start, uintptr_t end, struct mapping* found);

// Called in the child of a fork: drops all. The parent may have been in the middle of any change.
void mappings_forget(void);

#ifdef __cplusplus
}
#endif
