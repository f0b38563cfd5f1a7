#include "daemon/fuse/request_counts.h"

#include <string_view>

namespace pmemd {
namespace {

// By opcode; empty: the kernel has no such opcode, or doesn't send it here.
constexpr std::array<std::string_view, 52> kNames = {
    "OTHER",        "LOOKUP",        "FORGET",       "GETATTR",
    "SETATTR",      "READLINK",      "SYMLINK",      "",
    "MKNOD",        "MKDIR",         "UNLINK",       "RMDIR",
    "RENAME",       "LINK",          "OPEN",         "READ",
    "WRITE",        "STATFS",        "RELEASE",      "",
    "FSYNC",        "SETXATTR",      "GETXATTR",     "LISTXATTR",
    "REMOVEXATTR",  "FLUSH",         "INIT",         "OPENDIR",
    "READDIR",      "RELEASEDIR",    "FSYNCDIR",     "GETLK",
    "SETLK",        "SETLKW",        "ACCESS",       "CREATE",
    "INTERRUPT",    "BMAP",          "DESTROY",      "IOCTL",
    "POLL",         "NOTIFY_REPLY",  "BATCH_FORGET", "FALLOCATE",
    "READDIRPLUS",  "RENAME2",       "LSEEK",        "COPY_FILE_RANGE",
    "SETUPMAPPING", "REMOVEMAPPING", "SYNCFS",       "TMPFILE"};

}  // namespace

uint64_t RequestCounts::total() const {
  uint64_t sum = 0;
  for (const auto& count : counts_) sum += count.load(std::memory_order_relaxed);
  return sum;
}

std::vector<std::pair<std::string, uint64_t>> RequestCounts::by_kind() const {
  static_assert(kNames.size() == kKinds);
  std::vector<std::pair<std::string, uint64_t>> kinds;
  for (size_t opcode = 0; opcode < kKinds; ++opcode) {
    const uint64_t count = counts_.at(opcode).load(std::memory_order_relaxed);
    if (count != 0) kinds.emplace_back(kNames.at(opcode), count);
  }
  return kinds;
}

}  // namespace pmemd
