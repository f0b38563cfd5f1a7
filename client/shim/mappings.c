#include "client/shim/mappings.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct registrar registrar;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void hold(sigset_t* before) {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, before);
  pthread_mutex_lock(&lock);
}

static void let_go(const sigset_t* before) {
  pthread_mutex_unlock(&lock);
  pthread_sigmask(SIG_SETMASK, before, NULL);
}

// --- mappings that have left the table, and may come back or must be detached

struct aside {
  struct mapping mapping;
  Change change;  // 0: must be detached
};

static struct aside* aside;
static size_t aside_count, aside_room;
static Change last_change;

static bool waits(const struct aside* each) { return each->change != 0 && !each->mapping.attached; }

// Not malloc(), which may map memory, and not mmap(), which the shim replaces.
static bool have_room_aside(void) {
  if (aside_count < aside_room) return true;
  const size_t room = aside_room == 0 ? 64 : aside_room * 2;
  const long memory = syscall(SYS_mmap, NULL, room * sizeof(*aside), PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == -1) return false;
  struct aside* larger = (struct aside*)memory;
  if (aside) {
    memcpy(larger, aside, aside_count * sizeof(*aside));
    syscall(SYS_munmap, aside, aside_room * sizeof(*aside));
  }
  aside = larger;
  aside_room = room;
  return true;
}

// Without memory the mapping is forgotten: if it is attached, it stays so.
static void put_aside(const struct mapping* mapping, Change change) {
  if (change == 0 && !mapping->attached) return;
  if (have_room_aside()) aside[aside_count++] = (struct aside){*mapping, change};
}

static struct mapping remove_aside(size_t index) {
  const struct mapping mapping = aside[index].mapping;
  aside[index] = aside[--aside_count];
  return mapping;
}

// Removes the last mapping of a change and returns it.
static bool next_of(Change change, struct mapping* next) {
  for (size_t i = aside_count; change != 0 && i-- > 0;) {
    if (aside[i].change != change) continue;
    *next = remove_aside(i);
    return true;
  }
  return false;
}

// --- the table

static size_t unattached;  // in the table

static size_t count_unattached(size_t index, size_t count) {
  size_t found = 0;
  for (size_t i = index; i < index + count; ++i) {
    if (!mapping_table_get(i).attached) ++found;
  }
  return found;
}

static void replace(size_t index, size_t removed, const struct mapping* with, size_t count) {
  unattached -= count_unattached(index, removed);
  mapping_table_splice(index, removed, with, count);
  unattached += count_unattached(index, count);
}

static struct mapping part_of(const struct mapping* whole, uintptr_t start, uintptr_t end) {
  struct mapping part = *whole;
  part.start = start;
  part.end = end;
  part.offset += start - whole->start;
  part.attached = 0;
  part.id = 0;
  return part;
}

static uintptr_t least(uintptr_t a, uintptr_t b) { return a < b ? a : b; }
static uintptr_t most(uintptr_t a, uintptr_t b) { return a > b ? a : b; }

// Takes [start, end) out of the table, for good or as part of a change.
static void cut(uintptr_t start, uintptr_t end, Change change) {
  while (mapping_table_overlaps(start, end)) {
    const size_t index = mapping_table_after(start);
    const struct mapping old = mapping_table_get(index);
    struct mapping left[2];
    size_t count = 0;
    const bool room = mapping_table_reserve(1) == 0;
    if (old.start < start) left[count++] = part_of(&old, old.start, start);
    if (old.end > end && (room || count == 0)) left[count++] = part_of(&old, end, old.end);
    replace(index, 1, left, count);
    if (change != 0 && old.start >= start && old.end <= end) {
      put_aside(&old, change);
      continue;
    }
    put_aside(&old, 0);
    if (change == 0) continue;
    const struct mapping taken = part_of(&old, most(old.start, start), least(old.end, end));
    put_aside(&taken, change);
  }
}

static bool same_file(KeeperFile a, KeeperFile b) { return a.slot == b.slot && a.life == b.life; }

static bool continues(const struct mapping* first, const struct mapping* second) {
  return first->end == second->start &&
         first->offset + (first->end - first->start) == second->offset &&
         same_file(first->file, second->file) && first->told == second->told;
}

// Inserts a mapping that isn't attached, replacing what is there. It is merged with mappings that
// it continues, as in the kernel: otherwise a program that grows a mapping page by page would fill
// the table.
static void place(const struct mapping* mapping) {
  cut(mapping->start, mapping->end, 0);
  if (mapping_table_reserve(1) != 0) return;
  size_t index = mapping_table_after(mapping->start);
  size_t neighbours = 0;
  struct mapping whole = *mapping;
  if (index < mapping_table_count()) {
    const struct mapping next = mapping_table_get(index);
    if (continues(mapping, &next)) {
      whole.end = next.end;
      put_aside(&next, 0);
      ++neighbours;
    }
  }
  if (index > 0) {
    const struct mapping previous = mapping_table_get(index - 1);
    if (continues(&previous, mapping)) {
      whole.start = previous.start;
      whole.offset = previous.offset;
      put_aside(&previous, 0);
      ++neighbours;
      --index;
    }
  }
  replace(index, neighbours, &whole, 1);
}

// --- changes

Change mappings_take(uintptr_t start, uintptr_t end) {
  if (!mapping_table_overlaps(start, end)) return 0;
  sigset_t before;
  hold(&before);
  const Change change = ++last_change;
  cut(start, end, change);
  let_go(&before);
  return change;
}

void mappings_put_back(Change change) {
  sigset_t before;
  struct mapping each;
  if (change == 0) return;
  hold(&before);
  while (next_of(change, &each)) {
    if (mapping_table_overlaps(each.start, each.end) || mapping_table_reserve(1) != 0) {
      put_aside(&each, 0);
    } else if (each.attached) {
      replace(mapping_table_after(each.start), 0, &each, 1);
    } else {
      place(&each);
    }
  }
  let_go(&before);
}

void mappings_drop(Change change) {
  sigset_t before;
  if (change == 0) return;
  hold(&before);
  for (size_t i = aside_count; i-- > 0;) {
    if (aside[i].change != change) continue;
    aside[i].change = 0;
    if (!aside[i].mapping.attached) remove_aside(i);
  }
  let_go(&before);
}

// Places at `to` a mapping that was in [from, from_end). Addresses past the end of the old range
// continues the mapping that was last in it.
static void place_moved(const struct remap* remap, const struct mapping* old) {
  const uintptr_t size = remap->from_end - remap->from;
  const uintptr_t new_size = remap->to_end - remap->to;
  const uintptr_t start = most(old->start, remap->from);
  const uintptr_t end = least(old->end, remap->from + least(size, new_size));
  if (start < end) {
    struct mapping part = part_of(old, start, end);
    part.start = remap->to + (start - remap->from);
    part.end = remap->to + (end - remap->from);
    place(&part);
  }
  if (old->end >= remap->from_end && new_size > size) {
    struct mapping more = part_of(old, remap->from_end, remap->from + new_size);
    more.start = remap->to + size;
    more.end = remap->to_end;
    place(&more);
  }
}

void mappings_move(Change change, const struct remap* remap) {
  sigset_t before;
  struct mapping each;
  hold(&before);
  while (next_of(change, &each)) {
    place_moved(remap, &each);
    put_aside(&each, 0);
  }
  let_go(&before);
}

void mappings_copy(const struct remap* remap) {
  sigset_t before;
  hold(&before);
  for (uintptr_t at = remap->from; mapping_table_overlaps(at, remap->from_end);) {
    const struct mapping each = mapping_table_get(mapping_table_after(at));
    place_moved(remap, &each);
    at = each.end;
  }
  let_go(&before);
}

void mappings_grow(const struct remap* remap) {
  sigset_t before;
  struct mapping last;
  hold(&before);
  if (mapping_table_find(remap->from_end - 1, &last)) {
    const uintptr_t end = remap->from + (remap->to_end - remap->to);
    const struct mapping more = part_of(&last, remap->from_end, end);
    if (more.start < more.end) place(&more);
  }
  let_go(&before);
}

void mappings_add(const struct mapping* mapping) {
  sigset_t before;
  hold(&before);
  const struct mapping opened = {.file = mapping->file, .attached = 1};
  place(mapping);
  put_aside(&opened, 0);
  let_go(&before);
}

// --- settling, on the keeper's thread

static bool same(const struct mapping* a, const struct mapping* b) {
  return a->start == b->start && a->end == b->end && a->offset == b->offset &&
         same_file(a->file, b->file) && a->told == b->told && a->attached == b->attached;
}

// The first mapping from `*at` on that isn't attached.
static bool next_unattached(uintptr_t* at, struct mapping* found) {
  sigset_t before;
  bool is_there = false;
  hold(&before);
  size_t index = mapping_table_count() == 0 ? 0 : mapping_table_after(*at);
  for (; !is_there && index < mapping_table_count(); ++index) {
    *found = mapping_table_get(index);
    is_there = !found->attached;
    *at = found->end;
  }
  let_go(&before);
  return is_there;
}

// If the mapping has gone or changed meanwhile, the new attachment is ended. A mapping that can't
// be attached is left out, and behaves as without the shim.
static void attach(const struct mapping* mapping) {
  const struct keeper_range range = {.kind = KEEPER_IF_POSSIBLE,
                                     .offset = mapping->offset,
                                     .length = mapping->end - mapping->start,
                                     .address = mapping->told ? mapping->start : 0};
  struct mapping attached = *mapping;
  attached.attached = registrar.attach_again(mapping->file, &range, &attached.id) == 0;
  sigset_t before;
  struct mapping now;
  hold(&before);
  if (mapping_table_find(mapping->start, &now) && same(&now, mapping)) {
    replace(mapping_table_after(now.start), 1, &attached, attached.attached ? 1 : 0);
  } else {
    put_aside(&attached, 0);
  }
  let_go(&before);
}

// Does anything that isn't attached need the file?
static bool is_wanted(KeeperFile file) {
  for (size_t i = 0; i < aside_count; ++i) {
    if (waits(&aside[i]) && same_file(aside[i].mapping.file, file)) return true;
  }
  for (size_t i = 0; unattached != 0 && i < mapping_table_count(); ++i) {
    const struct mapping each = mapping_table_get(i);
    if (!each.attached && same_file(each.file, file)) return true;
  }
  return false;
}

static bool next_ended(struct mapping* ended) {
  sigset_t before;
  bool is_there = false;
  hold(&before);
  for (size_t i = aside_count; !is_there && i-- > 0;) {
    if (aside[i].change != 0 || is_wanted(aside[i].mapping.file)) continue;
    *ended = remove_aside(i);
    is_there = true;
  }
  let_go(&before);
  return is_there;
}

static void settle(void) {
  struct mapping each;
  for (uintptr_t at = 0; next_unattached(&at, &each);) attach(&each);
  while (next_ended(&each)) registrar.detach(each.file, KEEPER_IF_POSSIBLE, each.id);
}

void mappings_settle(void) { registrar.run(settle); }

// --- events, start, forks

bool mappings_find(KeeperFile file, uintptr_t start, uintptr_t end, struct mapping* found) {
  sigset_t before;
  bool is_there = false;
  hold(&before);
  for (uintptr_t at = start; !is_there && mapping_table_overlaps(at, end); at = found->end) {
    *found = mapping_table_get(mapping_table_after(at));
    is_there = same_file(found->file, file);
  }
  for (size_t i = 0; !is_there && i < aside_count; ++i) {
    *found = aside[i].mapping;
    is_there = aside[i].change != 0 && same_file(found->file, file) && found->start < end &&
               start < found->end;
  }
  let_go(&before);
  return is_there;
}

void mappings_start(const struct registrar* calls) { registrar = *calls; }

void mappings_forget(void) {
  pthread_mutex_init(&lock, NULL);
  mapping_table_forget();
  unattached = 0;
  aside = NULL;  // the parent may have been freeing it
  aside_count = 0;
  aside_room = 0;
}
