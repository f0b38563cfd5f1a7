// A file on tmpfs, whose pages a test's children map: real page tables without a mount of ours.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string>

#include "core/base/unique_fd.h"
#include "core/base/units.h"
#include "core/range/range.h"
#include "tests/unit/temporary_directory.h"

namespace pmemd {

// From linux/magic.h. Elsewhere st_dev need not be what /proc/PID/maps shows (btrfs, overlay).
inline bool is_tmpfs(const std::string& path) {
  struct statfs fs = {};
  return ::statfs(path.c_str(), &fs) == 0 && fs.f_type == 0x01021994;
}

class TmpfsFile {
 public:
  TmpfsFile(const std::string& directory, const std::string& name, uint64_t pages)
      : path_(directory + "/" + name) {
    const UniqueFd fd(::open(path_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
    EXPECT_TRUE(fd) << path_;
    EXPECT_EQ(::ftruncate(fd.get(), static_cast<off_t>(pages * kPageSize)), 0);
    EXPECT_EQ(::fstat(fd.get(), &stat_), 0);
  }

  const std::string& path() const { return path_; }
  uint64_t ino() const { return stat_.st_ino; }
  dev_t device() const { return stat_.st_dev; }

  // In a child: maps the range and touches what lies in `touch`. The address, or UINT64_MAX.
  uint64_t map(FileRange range, FileRange touch, int flags = MAP_SHARED,
               bool keep_open = false) const {
    UniqueFd fd(::open(path_.c_str(), O_RDWR));
    auto* const at =
        static_cast<volatile char*>(::mmap(nullptr, range.length(), PROT_READ | PROT_WRITE, flags,
                                           fd.get(), static_cast<off_t>(range.begin)));
    if (at == MAP_FAILED) return UINT64_MAX;
    ::madvise(const_cast<char*>(at), range.length(), MADV_NOHUGEPAGE);
    for (uint64_t offset = touch.begin; offset < touch.end; offset += kPageSize) {
      at[offset - range.begin] = 1;
    }
    if (keep_open) (void)fd.release();
    return reinterpret_cast<uint64_t>(at);
  }

  // What an inval does to its mappers: the pages go from all of them.
  void drop_pages() const {
    const UniqueFd fd(::open(path_.c_str(), O_RDWR | O_CLOEXEC));
    EXPECT_EQ(::fallocate(fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, stat_.st_size),
              0);
  }

 private:
  std::string path_;
  struct stat stat_ = {};
};

constexpr FileRange pages(uint64_t begin, uint64_t end) {
  return {begin * kPageSize, end * kPageSize};
}

}  // namespace pmemd
