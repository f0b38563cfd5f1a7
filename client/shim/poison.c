#include "client/shim/poison.h"

#include <signal.h>
#include <stdatomic.h>

#include "client/keeper/client_internal.h"
#include "client/shim/mapping_table.h"
#include "client/shim/mappings.h"
#include "client/shim/policy.h"

static const uint64_t kPage = 4096;

// --- pages whose poison was met: a ring of names; the oldest is forgotten

static _Atomic uint64_t touched[kTouched];
static _Atomic uint32_t next_touched;

// 24 bits of the file, 40 of the page in it. Never 0, because a file's life is never 0.
static uint64_t name_of(KeeperFile file, uint64_t offset) {
  return (uint64_t)file.life << 40 | (offset / kPage & ((UINT64_C(1) << 40) - 1));
}

// Whether `name` is in [first, last]; all are names of one file.
static bool is_among(uint64_t name, uint64_t first, uint64_t last) {
  return name != 0 && first <= name && name <= last;
}

void shim_touched_add(KeeperFile file, uint64_t offset) {
  const uint32_t at = atomic_fetch_add(&next_touched, 1) % kTouched;
  atomic_store(&touched[at], name_of(file, offset));
}

bool shim_touched_any(KeeperFile file, uint64_t offset, uint64_t length) {
  const uint64_t first = name_of(file, offset);
  const uint64_t last = name_of(file, offset + length - 1);
  for (int i = 0; i < kTouched; ++i) {
    if (is_among(atomic_load(&touched[i]), first, last)) return true;
  }
  return false;
}

void shim_touched_forget(KeeperFile file, uint64_t offset, uint64_t length) {
  const uint64_t first = name_of(file, offset);
  const uint64_t last = name_of(file, offset + length - 1);
  for (int i = 0; i < kTouched; ++i) {
    uint64_t name = atomic_load(&touched[i]);
    if (is_among(name, first, last)) atomic_compare_exchange_strong(&touched[i], &name, 0);
  }
}

// --- a touch

enum ShimVerdict shim_judge(uintptr_t address) {
  struct mapping mapping;
  if (!mapping_table_find(address, &mapping)) return SHIM_NOT_POISON;
  const uintptr_t page = address & ~(uintptr_t)(kPage - 1);
  const uint64_t offset = mapping.offset + (page - mapping.start);
  struct pmemd_query query = {offset, kPage};
  if (keeper_query(mapping.file, &query) != 0 || query.length == 0) return SHIM_NOT_POISON;
  const bool known = shim_touched_any(mapping.file, offset, 1);
  if (!known) shim_touched_add(mapping.file, offset);
  const bool again_is_mce = (mapping.info & PMEMD_INFO_REFAULT_MCEERR) != 0;
  return known && !again_is_mce ? SHIM_NOT_POISON : SHIM_POISON;
}

// --- an event

static bool is_worth_a_signal(const struct mapping* mapping, const struct pmemd_event* event) {
  if (event->kind == PMEMD_EVENT_PRE_REMOVE) return (mapping->info & PMEMD_INFO_HOLDER) != 0;
  if (event->kind != PMEMD_EVENT_POISON) return false;
  // A process that met it got BUS_MCEERR_AR, and isn't told twice.
  if (shim_touched_any(mapping->file, event->offset, event->length)) return false;
  return shim_process_wants_early((mapping->info & PMEMD_INFO_EARLY_KILL) != 0, keeper_has_thread);
}

void shim_on_event(KeeperFile file, const struct pmemd_event* event) {
  struct mapping mapping;
  const uintptr_t start = (uintptr_t)event->address;
  if (event->length == 0 || !mappings_find(file, start, start + event->length, &mapping)) return;
  if (event->kind == PMEMD_EVENT_CLEARED) shim_touched_forget(file, event->offset, event->length);
  if (!is_worth_a_signal(&mapping, event) || shim_sigbus_is_ignored()) return;
  const uintptr_t first = start > mapping.start ? start : mapping.start;
  const uintptr_t page = first & ~(uintptr_t)(kPage - 1);
  siginfo_t info = mce_siginfo(BUS_MCEERR_AO, (void*)page, 12);
  raise_in_process(&info);
}
