#include "client/shim_memory.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

static const uintptr_t kPage = 4096;

static struct shim_below below;

// Makes a change of the address space and of the table one step for others who change them. Held
// across the system call: the addresses that one thread gives up another may get at once.
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

struct held {
  sigset_t before;
};

static void hold(struct held* held) {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &held->before);
  pthread_mutex_lock(&lock);
}

// errno stays what the real call made it.
static void let_go(const struct held* held) {
  const int saved = errno;
  pthread_mutex_unlock(&lock);
  pthread_sigmask(SIG_SETMASK, &held->before, NULL);
  errno = saved;
}

static uintptr_t whole_pages(uintptr_t bytes) { return (bytes + kPage - 1) & ~(kPage - 1); }

// --- the table and what is registered, together

static struct keeper_range range_of(const struct mapping* mapping) {
  return (struct keeper_range){.kind = KEEPER_IF_POSSIBLE,
                               .offset = mapping->offset,
                               .length = mapping->end - mapping->start,
                               .address = mapping->told ? mapping->start : 0};
}

static void detach(const struct mapping* mapping) {
  below.detach(mapping->file, KEEPER_IF_POSSIBLE, mapping->id);
}

// Registers a mapping of a file that is attached already. If that can't be, it is left out.
static bool attach_again(struct mapping* mapping) {
  const struct keeper_range range = range_of(mapping);
  return below.attach_again(mapping->file, &range, &mapping->id) == 0;
}

// Takes [start, end) out of the table; what is left of the mappings there is registered anew.
static void cut(uintptr_t start, uintptr_t end) {
  while (mapping_table_overlaps(start, end)) {
    const size_t index = mapping_table_after(start);
    const struct mapping old = mapping_table_get(index);
    struct mapping left[2];
    size_t count = 0;
    const bool room = mapping_table_reserve(1) == 0;
    if (old.start < start) {
      left[count] = old;
      left[count].end = start;
      if (attach_again(&left[count])) ++count;
    }
    if (old.end > end && (room || count == 0)) {
      left[count] = old;
      left[count].start = end;
      left[count].offset += end - old.start;
      if (attach_again(&left[count])) ++count;
    }
    mapping_table_splice(index, 1, left, count);
    detach(&old);
  }
}

static bool continues(const struct mapping* first, const struct mapping* second) {
  return first->end == second->start &&
         first->offset + (first->end - first->start) == second->offset &&
         first->file.slot == second->file.slot && first->file.life == second->file.life &&
         first->told == second->told;
}

// Puts in a mapping that is registered, where there is none. With those that it continues it
// becomes one, as in the kernel: else a program that grows a mapping page by page would fill the
// table.
static void insert(const struct mapping* mapping) {
  if (mapping_table_reserve(1) != 0) {
    detach(mapping);
    return;
  }
  size_t index = mapping_table_after(mapping->start);
  struct mapping whole = *mapping;
  struct mapping parts[3];
  size_t neighbours = 0;
  size_t count = 0;
  parts[count++] = *mapping;
  if (index < mapping_table_count()) {
    const struct mapping next = mapping_table_get(index);
    if (continues(mapping, &next)) {
      whole.end = next.end;
      parts[count++] = next;
      ++neighbours;
    }
  }
  if (index > 0) {
    const struct mapping previous = mapping_table_get(index - 1);
    if (continues(&previous, mapping)) {
      whole.start = previous.start;
      whole.offset = previous.offset;
      parts[count++] = previous;
      ++neighbours;
      --index;
    }
  }
  if (neighbours == 0 || !attach_again(&whole)) {
    const size_t at = mapping_table_after(mapping->start);
    mapping_table_splice(at, 0, mapping, 1);
    return;
  }
  mapping_table_splice(index, neighbours, &whole, 1);
  for (size_t i = 0; i < count; ++i) detach(&parts[i]);
}

// --- mmap

static bool is_shared(int flags) {
  const int type = flags & MAP_TYPE;
  return type == MAP_SHARED || type == MAP_SHARED_VALIDATE;
}

// MAP_SYNC is the kernel's to refuse; where it needn't be we ask for a plain mapping.
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
  const struct keeper_range range = range_of(&mapping);
  if (below.attach(fd, &range, &mapping.file, &mapping.id) == 0) insert(&mapping);
}

void* shim_mmap(void* address, size_t length, int protection, int flags, int fd, off_t offset) {
  uint32_t info = 0;
  const bool ours = fd >= 0 && (flags & MAP_ANONYMOUS) == 0 && below.probe(fd, &info);
  const uintptr_t asked = (uintptr_t)address;
  const bool over = (flags & MAP_FIXED) != 0 && mapping_table_overlaps(asked, asked + length);
  if (ours) flags = without_sync(flags, info);
  if (!ours && !over) return below.mmap(address, length, protection, flags, fd, offset);
  struct held held;
  hold(&held);
  void* mapped = below.mmap(address, length, protection, flags, fd, offset);
  if (mapped != MAP_FAILED) {
    const int saved = errno;
    const uintptr_t start = (uintptr_t)mapped;
    cut(start, start + whole_pages(length));
    if (ours) note_mapping(start, length, flags, fd, offset, info);
    errno = saved;
  }
  let_go(&held);
  return mapped;
}

// --- munmap

int shim_munmap(void* address, size_t length) {
  const uintptr_t start = (uintptr_t)address;
  const uintptr_t end = start + whole_pages(length);
  if (!mapping_table_overlaps(start, end)) return below.munmap(address, length);
  struct held held;
  hold(&held);
  const int result = below.munmap(address, length);
  if (result == 0) {
    const int saved = errno;
    cut(start, end);
    errno = saved;
  }
  let_go(&held);
  return result;
}

// --- mremap

struct remap {
  uintptr_t from, from_end;  // what was mapped
  uintptr_t to, to_end;      // where it is now
  bool stays;                // it is there still, too
};

static void insert_part(const struct mapping* whole, uintptr_t start, uintptr_t end,
                        uint64_t offset) {
  struct mapping part = *whole;
  part.start = start;
  part.end = end;
  part.offset = offset;
  if (attach_again(&part)) insert(&part);
}

// What lies past the end of the old range continues the mapping that was last in it.
static void note_growth(const struct remap* remap, const struct mapping* last) {
  const uintptr_t size = remap->from_end - remap->from;
  if (last->end < remap->from_end || remap->to_end - remap->to <= size) return;
  insert_part(last, remap->to + size, remap->to_end,
              last->offset + (remap->from_end - last->start));
}

static uintptr_t least(uintptr_t a, uintptr_t b) { return a < b ? a : b; }

static void note_move(const struct remap* remap) {
  cut(remap->to, remap->to_end);
  const uintptr_t kept = least(remap->from_end, remap->from + (remap->to_end - remap->to));
  for (uintptr_t at = remap->from; mapping_table_overlaps(at, kept);) {
    const struct mapping each = mapping_table_get(mapping_table_after(at));
    const uintptr_t start = each.start > at ? each.start : at;
    const uintptr_t end = least(each.end, kept);
    insert_part(&each, remap->to + (start - remap->from), remap->to + (end - remap->from),
                each.offset + (start - each.start));
    at = end;
    if (end == kept) note_growth(remap, &each);
  }
  if (!remap->stays) cut(remap->from, remap->from_end);
}

static void note_remap(const struct remap* remap) {
  struct mapping last;
  if (remap->to != remap->from) {
    note_move(remap);
  } else if (remap->to_end < remap->from_end) {
    cut(remap->to_end, remap->from_end);
  } else if (mapping_table_find(remap->from_end - 1, &last)) {
    note_growth(remap, &last);
  }
}

// mremap(address, 0, ...) makes a second mapping of what is at `address`.
static void note_copy(uintptr_t of, uintptr_t start, uintptr_t end) {
  struct mapping original;
  cut(start, end);
  if (mapping_table_find(of, &original)) {
    insert_part(&original, start, end, original.offset + (of - original.start));
  }
}

void* shim_mremap(void* address, size_t length, size_t new_length, int flags, void* new_address) {
  const uintptr_t from = (uintptr_t)address;
  const uintptr_t from_end = from + (length == 0 ? kPage : whole_pages(length));
  const uintptr_t asked = (uintptr_t)new_address;
  const bool over =
      (flags & MREMAP_FIXED) != 0 && mapping_table_overlaps(asked, asked + new_length);
  if (!over && !mapping_table_overlaps(from, from_end)) {
    return below.mremap(address, length, new_length, flags, new_address);
  }
  struct held held;
  hold(&held);
  void* mapped = below.mremap(address, length, new_length, flags, new_address);
  if (mapped != MAP_FAILED) {
    const int saved = errno;
    const uintptr_t to = (uintptr_t)mapped;
    const struct remap remap = {from, from_end, to, to + whole_pages(new_length),
                                (flags & MREMAP_DONTUNMAP) != 0};
    if (length == 0) {
      note_copy(from, remap.to, remap.to_end);
    } else {
      note_remap(&remap);
    }
    errno = saved;
  }
  let_go(&held);
  return mapped;
}

// --- events, start, forks

bool shim_memory_find_id(KeeperFile file, uint64_t id, struct mapping* found) {
  struct held held;
  hold(&held);
  const bool is_there = mapping_table_find_id(file, id, found);
  let_go(&held);
  return is_there;
}

void shim_memory_start(const struct shim_below* calls) { below = *calls; }

static struct held held_for_fork;

void shim_memory_before_fork(void) {
  struct held held;
  hold(&held);
  held_for_fork = held;
}

void shim_memory_after_fork(bool child) {
  const struct held held = held_for_fork;
  if (child) mapping_table_splice(0, mapping_table_count(), NULL, 0);
  pthread_mutex_unlock(&lock);
  pthread_sigmask(SIG_SETMASK, &held.before, NULL);
}
