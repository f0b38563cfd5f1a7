// A tmpfs of a test's own, of a given size: a host disk that is soon full. Root only.
#pragma once

#include <fmt/format.h>
#include <sched.h>
#include <sys/mount.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>

#include "tests/unit/temporary_directory.h"

namespace pmemd {

class TemporaryTmpfs {
 public:
  // In a mount namespace of the test's own, which ends with the process, however that ends.
  explicit TemporaryTmpfs(uint64_t size_bytes) {
    if (::unshare(CLONE_NEWNS) != 0 ||
        ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("none", path().c_str(), "tmpfs", 0, fmt::format("size={}", size_bytes).c_str()) !=
            0) {
      why_not_ = std::string("no tmpfs can be mounted: ") + std::strerror(errno);
    }
  }
  ~TemporaryTmpfs() {
    if (why_not_.empty()) ::umount2(path().c_str(), MNT_DETACH);
  }

  const std::string& path() const { return directory_.path(); }
  const std::string& why_not() const { return why_not_; }  // empty: it is there

 private:
  TemporaryDirectory directory_;
  std::string why_not_;
};

}  // namespace pmemd
