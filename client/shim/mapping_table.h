// The process's addresses that are mapped to files of ours.
//
// Sorted by address; signal handlers look it up while others change it.
//
// Thread contract: find() and overlaps() from any thread and signal handler; the others by one
// thread at a time, with all signals blocked.
//
// Invariants
// 1. Mappings are not empty, don't overlap, and are in order.
// 2. An array that a reader may still use is never freed: one of twice the size replaces it, so
//    that all of them together are at most twice the last one.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/keeper/keeper.h"

#ifdef __cplusplus
extern "C" {
#endif

struct mapping {
  uintptr_t start, end;  // half-open
  uint64_t offset;       // in the file, of start
  KeeperFile file;
  uint64_t id;        // of the registration; 0: none
  uint32_t info;      // PMEMD_INFO_*
  uint32_t told;      // 1: to be registered (shared); 0: only looked up
  uint32_t attached;  // 1: holds the file, and is registered if possible; 0: not yet
};

// Finds the mapping that contains the address.
bool mapping_table_find(uintptr_t address, struct mapping* found);
bool mapping_table_overlaps(uintptr_t start, uintptr_t end);

// --- for writers

// The number of mappings; the index of the first one that ends after `address`; the i-th.
size_t mapping_table_count(void);
size_t mapping_table_after(uintptr_t address);
struct mapping mapping_table_get(size_t index);

// Makes room for `more` mappings. -ENOMEM.
int mapping_table_reserve(size_t more);
// Replaces the `removed` mappings from `index` on with `count` new ones; one step to readers. There
// must be room.
void mapping_table_splice(size_t index, size_t removed, const struct mapping* with, size_t count);

// Called in the child of a fork: empties the table, even if another thread was changing it.
void mapping_table_forget(void);

#ifdef __cplusplus
}
#endif
