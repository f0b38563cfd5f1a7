// Memory whose last pages fail as pmemd's do, without a mount: a file that was truncated under its
// mapping. A touch is SIGBUS with BUS_ADRERR, a system call gets EFAULT.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

#include "core/base/unique_fd.h"

namespace pmemd::test {

inline constexpr size_t kPage = 4096;

class FailingMemory {
 public:
  FailingMemory(size_t good_pages, size_t bad_pages)
      : bytes_((good_pages + bad_pages) * kPage), fd_(memfd_create("failing", MFD_CLOEXEC)) {
    EXPECT_EQ(ftruncate(fd_.get(), static_cast<off_t>(bytes_)), 0);
    void* const mapped = ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(), 0);
    EXPECT_NE(mapped, MAP_FAILED);
    base_ = static_cast<char*>(mapped);
    std::memset(base_, 'a', bytes_);
    set_good(good_pages);
  }
  ~FailingMemory() { ::munmap(base_, bytes_); }
  FailingMemory(const FailingMemory&) = delete;
  FailingMemory& operator=(const FailingMemory&) = delete;

  void set_good(size_t pages) const {
    EXPECT_EQ(ftruncate(fd_.get(), static_cast<off_t>(pages * kPage)), 0);
  }
  char* base() const { return base_; }
  char* page(size_t index) const { return base_ + index * kPage; }
  size_t bytes() const { return bytes_; }
  int fd() const { return fd_.get(); }

 private:
  size_t bytes_;
  UniqueFd fd_;
  char* base_ = nullptr;
};

}  // namespace pmemd::test
