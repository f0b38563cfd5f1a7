// mmap, munmap and mremap as the shim has them: what is mapped of our files goes into the mapping
// table and is registered, MAP_SYNC is accepted where stores need no msync.
//
// Thread contract: any thread, and signal handlers as far as the real calls allow it: all signals
// are blocked while the lock is held. A call that concerns no mapping of ours takes no lock.
//
// Differs from what a program sees without the shim: MAP_SYNC (docs/client.md); nothing else.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "client/keeper.h"
#include "client/mapping_table.h"

#ifdef __cplusplus
extern "C" {
#endif

// The calls below us, and how ranges are registered. Tests put their own here.
struct shim_below {
  void* (*mmap)(void* address, size_t length, int protection, int flags, int fd, off_t offset);
  int (*munmap)(void* address, size_t length);
  void* (*mremap)(void* address, size_t length, size_t new_length, int flags, void* new_address);
  // False: not a file of ours.
  bool (*probe)(int fd, uint32_t* info);
  int (*attach)(int fd, const struct keeper_range* range, KeeperFile* file, uint64_t* id);
  int (*attach_again)(KeeperFile file, const struct keeper_range* range, uint64_t* id);
  void (*detach)(KeeperFile file, enum KeeperKind kind, uint64_t id);
};

void shim_memory_start(const struct shim_below* below);

void* shim_mmap(void* address, size_t length, int protection, int flags, int fd, off_t offset);
int shim_munmap(void* address, size_t length);
void* shim_mremap(void* address, size_t length, size_t new_length, int flags, void* new_address);

// The mapping with this registration, also while a call above is about to put it into the table.
// Not for signal handlers.
bool shim_memory_find_id(KeeperFile file, uint64_t id, struct mapping* found);

// Around a fork. The child begins with no mapping of ours: what it inherits is as without the shim.
void shim_memory_before_fork(void);
void shim_memory_after_fork(bool child);

#ifdef __cplusplus
}
#endif
