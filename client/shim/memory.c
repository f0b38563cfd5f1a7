#include "client/shim/memory.h"

#include <errno.h>
#include <sys/mman.h>

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

static const uintptr_t kPage = 4096;

static struct shim_below below;

static uintptr_t whole_pages(uintptr_t bytes) { return (bytes + kPage - 1) & ~(kPage - 1); }

// --- mmap

static bool is_shared(int flags) {
  const int type = flags & MAP_TYPE;
  return type == MAP_SHARED || type == MAP_SHARED_VALIDATE;
}

// The kernel refuses MAP_SYNC; where we can grant it, we ask for a plain mapping.
static int without_sync(int flags, uint32_t info) {
  const bool asked = (flags & MAP_TYPE) == MAP_SHARED_VALIDATE && (flags & MAP_SYNC) != 0;
  return asked && (info & PMEMD_INFO_SYNC) != 0 ? flags & ~MAP_SYNC : flags;
}

static void note_mapping(uintptr_t start, size_t length, int flags, int fd, off_t offset,
                         uint32_t info) {
  struct mapping mapping = {.start = start,
                            .end = start + whole_pages(length),
                            .offset = (uint64_t)offset,
                            .info = info,
                            .told = is_shared(flags)};
  const struct keeper_range nothing = {.kind = KEEPER_IF_POSSIBLE};
  uint64_t id;
  if (below.attach(fd, &nothing, &mapping.file, &id) == 0) mappings_add(&mapping);
}

// A call that the kernel would refuse because of its address changes nothing.
static Change take(uintptr_t start, size_t length) {
  return start % kPage == 0 ? mappings_take(start, start + whole_pages(length)) : 0;
}

void* shim_mmap(void* address, size_t length, int protection, int flags, int fd, off_t offset) {
  uint32_t info = 0;
  const bool ours = fd >= 0 && (flags & MAP_ANONYMOUS) == 0 && below.probe(fd, &info);
  const Change over = (flags & MAP_FIXED) != 0 ? take((uintptr_t)address, length) : 0;
  if (ours) flags = without_sync(flags, info);
  void* mapped = below.mmap(address, length, protection, flags, fd, offset);
  if (!ours && over == 0) return mapped;
  const int saved = errno;
  if (mapped == MAP_FAILED) {
    mappings_put_back(over);
  } else {
    mappings_drop(over);
    if (ours) note_mapping((uintptr_t)mapped, length, flags, fd, offset, info);
  }
  mappings_settle();
  errno = saved;
  return mapped;
}

// --- munmap

int shim_munmap(void* address, size_t length) {
  const Change change = take((uintptr_t)address, length);
  const int result = below.munmap(address, length);
  if (change == 0) return result;
  const int saved = errno;
  if (result == 0) {
    mappings_drop(change);
  } else {
    mappings_put_back(change);
  }
  mappings_settle();
  errno = saved;
  return result;
}

// --- mremap

enum RemapKind {
  REMAP_COPY,    // the old mapping stays, too
  REMAP_SHRINK,  // in place
  REMAP_GROW,    // in place, or not at all
  REMAP_MOVE     // or in place
};

static enum RemapKind kind_of(size_t length, size_t new_length, int flags) {
  if (length == 0 || (flags & MREMAP_DONTUNMAP) != 0) return REMAP_COPY;
  if ((flags & MREMAP_FIXED) != 0) return REMAP_MOVE;
  if (whole_pages(new_length) <= whole_pages(length)) return REMAP_SHRINK;
  return (flags & MREMAP_MAYMOVE) != 0 ? REMAP_MOVE : REMAP_GROW;
}

static Change take_moved(enum RemapKind kind, uintptr_t from, uintptr_t size, uintptr_t new_size) {
  if (new_size == 0) return 0;  // the kernel refuses it
  if (kind == REMAP_MOVE) return take(from, size);
  return kind == REMAP_SHRINK ? take(from + new_size, size - new_size) : 0;
}

static void note_remap(enum RemapKind kind, Change moved, const struct remap* remap) {
  switch (kind) {
    case REMAP_COPY:
      mappings_copy(remap);
      return;
    case REMAP_SHRINK:
      mappings_drop(moved);
      return;
    case REMAP_GROW:
      mappings_grow(remap);
      return;
    case REMAP_MOVE:
      mappings_move(moved, remap);
  }
}

void* shim_mremap(void* address, size_t length, size_t new_length, int flags, void* new_address) {
  const uintptr_t from = (uintptr_t)address;
  const uintptr_t size = length == 0 ? kPage : whole_pages(length);
  const uintptr_t new_size = whole_pages(new_length);
  const bool is_fixed = (flags & MREMAP_FIXED) != 0;
  const bool ours = mapping_table_overlaps(from, from + size);
  const enum RemapKind kind = kind_of(length, new_length, flags);
  const Change moved = take_moved(kind, from, size, new_size);
  const Change over = is_fixed ? take((uintptr_t)new_address, new_length) : 0;
  void* mapped = below.mremap(address, length, new_length, flags, new_address);
  if (!ours && over == 0) return mapped;
  const int saved = errno;
  if (mapped == MAP_FAILED) {
    mappings_put_back(moved);
    mappings_put_back(over);
  } else {
    const uintptr_t to = (uintptr_t)mapped;
    const struct remap remap = {from, from + size, to, to + new_size};
    mappings_drop(over);
    note_remap(kind, moved, &remap);
  }
  mappings_settle();
  errno = saved;
  return mapped;
}

void shim_memory_start(const struct shim_below* calls) {
  below = *calls;
  mappings_start(&calls->registrar);
}
