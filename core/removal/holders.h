// Who holds files of a mount: mappings and open files of all processes, from /proc.
//
// FUSE doesn't tell who maps a file. /proc does, including forked children, and its pagemap proves
// which pages are present. Processes that the caller may not look at (another user's, without
// privilege) are not found.
//
// Thread contract: any thread, but not one that serves the mount's requests (a path that /proc
// resolves may ask the mount).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "core/range/range.h"

namespace pmemd {

struct Mapping {
  uint64_t ino = 0;
  std::string path;         // from the mount's root, as DeviceContent::paths() names it: "/pmem0/a"
  FileRange range;          // the mapped range of the file
  AddressRange addresses;   // where it is mapped
  bool is_private = false;  // MAP_PRIVATE
  uint64_t pages_present = 0;  // of the file's own pages (private copies don't count)
};

struct OpenFile {
  uint64_t ino = 0;
  std::string path;  // the same
  int fd = -1;       // -1: no process has it, the kernel does
};

struct Holder {
  // The result of several looks (core/removal/fates.h).
  enum class Fate {
    kHolds,  // the last look found it
    kLetGo,  // it lives, and has unmapped or closed everything
    kEnded,
  };

  pid_t pid = 0;  // if the kernel holds it: its opener, which may have ended; 0: not known
  uid_t uid = 0;
  std::string comm;
  std::string kernel = {};  // how the kernel itself holds it (kernel_holders.h); empty: it doesn't
  uint64_t started = 0;     // in clock ticks after boot: tells apart processes that reuse a pid
  std::vector<Mapping> mappings = {};
  std::vector<OpenFile> open_files = {};
  Fate fate = Fate::kHolds;
  std::string ended_by = {};  // "SIGBUS", "exit 3"; empty: the kernel doesn't tell
};

struct ProcessStat {
  char state = '?';      // 'Z': it has ended, and its parent doesn't know yet
  uint64_t started = 0;  // in clock ticks after boot
  int exit_code = 0;     // a wait status, if it has ended
};
// From /proc/PID/stat. nullopt: there is no such process.
std::optional<ProcessStat> process_stat(pid_t pid);

std::string comm_of(pid_t pid);  // of a process or thread; empty when it has ended
// "4321 (app)"; "4321 (ended)"; for 0 "the kernel, or a process of another pid namespace".
std::string process_name(pid_t pid);

// Looks at every process but this one. `device` is the mount's st_dev; `wanted` picks inodes.
// Paths are those of the holder's mount namespace, without `mount_point`: only hints. Counts no
// pages.
std::vector<Holder> find_holders(dev_t device, const std::string& mount_point,
                                 const std::function<bool(uint64_t ino)>& wanted);

// For each inode, a path by which one of them knows it.
std::map<uint64_t, std::string> paths_of(const std::vector<Holder>& holders);

// Counts the mapping's pages that are present and belong to the file, looking only at pages that
// `parts` touch (in order; the file ranges that can be resident: those lent to the kernel). 0: the
// process is gone. EACCES, EPERM: we may not look at it.
Result<uint64_t> count_present_pages(pid_t pid, const Mapping& mapping,
                                     const std::vector<FileRange>& parts);

// The same for all mappings of `holders`, in the parts that `parts_of` names; it is called once for
// each inode. Mappings that we may not look at count as 0; so do those of a process that no longer
// holds them: its pid or addresses may be reused. `keep`: notes the count in each mapping.
using PartsOf = std::function<std::vector<FileRange>(uint64_t ino)>;
uint64_t count_present_pages(std::vector<Holder>& holders, const PartsOf& parts_of, bool keep);

}  // namespace pmemd
