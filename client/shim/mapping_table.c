#include "client/shim/mapping_table.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "client/shim/seqlock.h"

struct cell {
  _Atomic uint64_t start, end, offset, file, id, flags;
};

struct array {
  size_t room;
  struct cell cells[];
};

static struct seqlock sequence;
static struct array* _Atomic current;
static atomic_size_t used;

static struct mapping load(const struct cell* cell) {
  const uint64_t file = atomic_load_explicit(&cell->file, memory_order_relaxed);
  const uint64_t flags = atomic_load_explicit(&cell->flags, memory_order_relaxed);
  return (struct mapping){
      .start = atomic_load_explicit(&cell->start, memory_order_relaxed),
      .end = atomic_load_explicit(&cell->end, memory_order_relaxed),
      .offset = atomic_load_explicit(&cell->offset, memory_order_relaxed),
      .file = {(uint32_t)file, (uint32_t)(file >> 32)},
      .id = atomic_load_explicit(&cell->id, memory_order_relaxed),
      .info = (uint32_t)flags,
      .told = (uint32_t)(flags >> 32 & 1),
      .attached = (uint32_t)(flags >> 33 & 1),
  };
}

static void store(struct cell* cell, const struct mapping* mapping) {
  const uint64_t file = mapping->file.slot | (uint64_t)mapping->file.life << 32;
  const uint64_t flags =
      mapping->info | (uint64_t)mapping->told << 32 | (uint64_t)mapping->attached << 33;
  atomic_store_explicit(&cell->start, mapping->start, memory_order_relaxed);
  atomic_store_explicit(&cell->end, mapping->end, memory_order_relaxed);
  atomic_store_explicit(&cell->offset, mapping->offset, memory_order_relaxed);
  atomic_store_explicit(&cell->file, file, memory_order_relaxed);
  atomic_store_explicit(&cell->id, mapping->id, memory_order_relaxed);
  atomic_store_explicit(&cell->flags, flags, memory_order_relaxed);
}

static struct array* load_array(void) {
  return atomic_load_explicit(&current, memory_order_acquire);
}

size_t mapping_table_count(void) { return atomic_load_explicit(&used, memory_order_relaxed); }

static size_t first_after(const struct array* array, size_t count, uintptr_t address) {
  size_t low = 0;
  size_t high = count;
  while (low < high) {
    const size_t middle = low + (high - low) / 2;
    if (atomic_load_explicit(&array->cells[middle].end, memory_order_relaxed) <= address) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

size_t mapping_table_after(uintptr_t address) {
  return first_after(load_array(), mapping_table_count(), address);
}

struct mapping mapping_table_get(size_t index) { return load(&load_array()->cells[index]); }

// The first mapping that ends after `start`, if it begins before `end`.
static bool first_in(uintptr_t start, uintptr_t end, struct mapping* found) {
  uint32_t seen;
  bool is_there;
  do {
    if (!seqlock_read_begin(&sequence, &seen)) return false;
    // With a writer in between we may see an old array and a new count.
    const struct array* array = load_array();
    size_t count = array ? mapping_table_count() : 0;
    if (array && count > array->room) count = array->room;
    const size_t index = first_after(array, count, start);
    is_there = index < count;
    if (is_there) *found = load(&array->cells[index]);
  } while (!seqlock_read_end(&sequence, seen));
  return is_there && found->start < end;
}

bool mapping_table_find(uintptr_t address, struct mapping* found) {
  return first_in(address, address + 1, found);
}

bool mapping_table_overlaps(uintptr_t start, uintptr_t end) {
  struct mapping found;
  return start < end && mapping_table_count() != 0 && first_in(start, end, &found);
}

int mapping_table_reserve(size_t more) {
  const struct array* array = load_array();
  const size_t count = mapping_table_count();
  if (array && count + more <= array->room) return 0;
  size_t room = array ? array->room : 32;
  while (room < count + more) room *= 2;
  // Not mmap(), which the shim replaces.
  const size_t bytes = sizeof(struct array) + room * sizeof(struct cell);
  const long memory =
      syscall(SYS_mmap, NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == -1) return -ENOMEM;
  struct array* larger = (struct array*)memory;
  larger->room = room;
  for (size_t i = 0; i < count; ++i) {
    const struct mapping mapping = mapping_table_get(i);
    store(&larger->cells[i], &mapping);
  }
  seqlock_write_begin(&sequence);
  // Release: a reader that finds the array also sees `room`.
  atomic_store_explicit(&current, larger, memory_order_release);
  seqlock_write_end(&sequence);
  return 0;
}

static void move(struct array* array, size_t from, size_t to) {
  const struct mapping mapping = load(&array->cells[from]);
  store(&array->cells[to], &mapping);
}

void mapping_table_splice(size_t index, size_t removed, const struct mapping* with, size_t count) {
  struct array* array = load_array();
  const size_t before = mapping_table_count();
  const size_t after = before - removed + count;
  assert(index + removed <= before && (after == 0 || after <= array->room));
  seqlock_write_begin(&sequence);
  if (count > removed) {
    for (size_t i = before; i > index + removed; --i) move(array, i - 1, i - 1 + count - removed);
  } else if (count < removed) {
    for (size_t i = index + removed; i < before; ++i) move(array, i, i + count - removed);
  }
  for (size_t i = 0; i < count; ++i) store(&array->cells[index + i], &with[i]);
  atomic_store_explicit(&used, after, memory_order_relaxed);
  seqlock_write_end(&sequence);
}

void mapping_table_forget(void) {
  atomic_store(&used, 0);
  atomic_store(&sequence.sequence, 0);
}
