// What is mapped of our files, and registrations that follow it.
//
// A system call that changes mappings can wait for as long as it likes (MAP_POPULATE reads the
// file). So nothing is held across it: what it is going to take away is taken out of the table
// before, as a `Change`, and dropped, moved or put back when the call has returned. An address that
// the kernel gives to another thread meanwhile is that thread's in the table, too.
//
// Registrations lag behind: the table says which mappings want one, and mappings_settle() has the
// keeper's thread bring the two together. The daemon is asked there alone, one question at a time.
//
// Thread contract: any thread, and signal handlers; mappings_start() and mappings_forget() by one.
// The lock is held for memory only, with all signals blocked.
//
// Invariants
// 1. A mapping in the table that isn't `attached` wants to be: settling attaches it.
// 2. What was attached and has left the table is detached only when nothing of its file waits to be
//    attached: the file stays open.
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
  // Runs `work` where the two above are called, one at a time; returns when it is done, or not in
  // time.
  void (*run)(void (*work)(void));
};
void mappings_start(const struct registrar* registrar);

typedef uint64_t Change;  // 0: none

// [from, from_end) is at [to, to_end) now.
struct remap {
  uintptr_t from, from_end;
  uintptr_t to, to_end;
};

// Takes [start, end) out of the table. 0: nothing of ours is there.
Change mappings_take(uintptr_t start, uintptr_t end);
// The call failed: it is there as before, but where others have mapped since.
void mappings_put_back(Change change);
// It is gone.
void mappings_drop(Change change);
// It was moved, and may have become shorter or longer.
void mappings_move(Change change, const struct remap* remap);
// It was not taken, and is at both places.
void mappings_copy(const struct remap* remap);
// It became longer where it is.
void mappings_grow(const struct remap* remap);
// A new one. Takes over an attachment of its file without an id (keeper_attach() with address 0).
void mappings_add(const struct mapping* mapping);

// Has all of the above registered and ended.
void mappings_settle(void);

// The first mapping of this file in [start, end); also if a call is about to change it.
bool mappings_find(KeeperFile file, uintptr_t start, uintptr_t end, struct mapping* found);

// In the child of a fork: there are none. The parent may have been in the middle of anything.
void mappings_forget(void);

#ifdef __cplusplus
}
#endif
