// The shim's mmap, munmap and mremap: they enter mappings of our files into the mapping table,
// register them, and accept MAP_SYNC where stores need no msync.
//
// Thread contract: any thread, and signal handlers as far as the real calls allow it. The real call
// is made with no lock held and no signal blocked: it may block for as long as the file's reader or
// the kernel does. client/shim/mappings.h says how the table copes with that.
//
// Differs from what a program sees without the shim: MAP_SYNC (docs/client.md); nothing else.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "client/keeper/keeper.h"
#include "client/shim/mappings.h"

#ifdef __cplusplus
extern "C" {
#endif

// The calls below us, and how ranges are registered. Tests replace them.
struct shim_below {
  void* (*mmap)(void* address, size_t length, int protection, int flags, int fd, off_t offset);
  int (*munmap)(void* address, size_t length);
  void* (*mremap)(void* address, size_t length, size_t new_length, int flags, void* new_address);
  // False: not a file of ours.
  bool (*probe)(int fd, uint32_t* info);
  int (*attach)(int fd, const struct keeper_range* range, KeeperFile* file, uint64_t* id);
  struct registrar registrar;
};

void shim_memory_start(const struct shim_below* below);

void* shim_mmap(void* address, size_t length, int protection, int flags, int fd, off_t offset);
int shim_munmap(void* address, size_t length);
void* shim_mremap(void* address, size_t length, size_t new_length, int flags, void* new_address);

#ifdef __cplusplus
}
#endif
