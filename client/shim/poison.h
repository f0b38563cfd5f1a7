// Decides whether a touch met poison, and which signals a failure causes.
//
// Thread contract: shim_judge() and its memory of met pages: any thread and signal handler;
// shim_on_event(): the keeper's watcher.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "client/keeper/keeper.h"
#include "client/shim/signal.h"

#ifdef __cplusplus
extern "C" {
#endif

// Asks the daemon about the page. On a namespace that behaves as Linux before 6.5 (no
// PMEMD_INFO_REFAULT_MCEERR) only this process's first touch of a page is SHIM_POISON.
enum ShimVerdict shim_judge(uintptr_t address);

// Sends BUS_MCEERR_AO where the kernel would: for poison, to processes with the policy "early";
// before a removal, to every mapper of a device with a holder. One signal for each mapping and
// contiguous range, at its first page.
void shim_on_event(KeeperFile file, const struct pmemd_event* event);

// --- which pages' poison this process has met; the last kTouched of them
enum { kTouched = 512 };
void shim_touched_add(KeeperFile file, uint64_t offset);
bool shim_touched_any(KeeperFile file, uint64_t offset, uint64_t length);
void shim_touched_forget(KeeperFile file, uint64_t offset, uint64_t length);

#ifdef __cplusplus
}
#endif
