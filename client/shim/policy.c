#include "client/shim/policy.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "client/keeper/raw_file.h"

// The kernel's task flags, the ninth field; the second is a name in parentheses, of any characters.
static bool read_flags(const char* task, uint32_t* flags) {
  char path[64];
  char text[512];
  if (snprintf(path, sizeof(path), "/proc/self/task/%s/stat", task) >= (int)sizeof(path)) {
    return false;
  }
  const int fd = raw_open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const ssize_t got = raw_read(fd, text, sizeof(text) - 1);
  raw_close(fd);
  if (got <= 0) return false;
  text[got] = '\0';
  const char* at = strrchr(text, ')');
  for (int field = 2; at && field < 9; ++field) {
    at = strchr(at, ' ');
    if (at) ++at;
  }
  if (!at) return false;
  *flags = (uint32_t)strtoul(at, NULL, 10);
  return true;
}

static bool flags_with(int policy, uint32_t* flags) {
  char task[16];
  snprintf(task, sizeof(task), "%d", (int)gettid());
  return prctl(PR_MCE_KILL, PR_MCE_KILL_SET, policy, 0, 0) == 0 && read_flags(task, flags);
}

static bool one_bit(uint32_t word) { return word != 0 && (word & (word - 1)) == 0; }

bool shim_find_mce_bits(struct mce_bits* bits) {
  uint32_t none, early, late;
  const bool read = flags_with(PR_MCE_KILL_DEFAULT, &none) &&
                    flags_with(PR_MCE_KILL_EARLY, &early) && flags_with(PR_MCE_KILL_LATE, &late);
  if (!read) return false;
  *bits = (struct mce_bits){late ^ none, early ^ late};
  return one_bit(bits->process) && one_bit(bits->early) && (early & bits->early) != 0;
}

bool shim_wants_early(const uint32_t* flags, int count, struct mce_bits bits, bool default_early) {
  for (int i = 0; i < count; ++i) {
    const bool has_policy = (flags[i] & bits.process) != 0;
    if (has_policy ? (flags[i] & bits.early) != 0 : default_early) return true;
  }
  return false;
}

// Whether any thread among these directory entries wants it early.
static bool any_wants_early(const char* entries, long size, struct mce_bits bits,
                            bool default_early, bool (*skip)(int32_t thread)) {
  for (long at = 0; at < size;) {
    const struct dirent64* each = (const struct dirent64*)(entries + at);  // the kernel's layout
    at += each->d_reclen;
    uint32_t flags;
    if (each->d_name[0] == '.' || skip((int32_t)strtol(each->d_name, NULL, 10))) continue;
    if (!read_flags(each->d_name, &flags)) continue;
    if (shim_wants_early(&flags, 1, bits, default_early)) return true;
  }
  return false;
}

bool shim_process_wants_early(bool default_early, bool (*skip)(int32_t thread)) {
  static bool known;
  static struct mce_bits bits;
  if (!known) known = shim_find_mce_bits(&bits);
  if (!known) return default_early;
  const int tasks = raw_open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (tasks < 0) return default_early;
  bool early = false;
  _Alignas(struct dirent64) char buffer[4096];
  long got = 0;
  while (!early && (got = syscall(SYS_getdents64, tasks, buffer, sizeof(buffer))) > 0) {
    early = any_wants_early(buffer, got, bits, default_early, skip);
  }
  raw_close(tasks);
  return early;
}
