// Is told what requests find out about a device's memory.
//
// Thread contract: the thread that serves the request calls each function inside the request; it
// must not block.
#pragma once

#include <cstdint>
#include <vector>

#include "core/range/range.h"

namespace pmemd {

enum class MediaAccess : uint8_t { kRead, kWrite, kWriteback };

// `device_ino`: the device's root inode.
class MediaObserver {
 public:
  virtual ~MediaObserver() = default;
  // A read has met latent errors.
  virtual void on_latent(uint64_t device_ino, DataRange range) = 0;
  // A write has made known errors good.
  virtual void on_cleared(uint64_t device_ino, const std::vector<DataRange>& ranges) = 0;
  // Before each read, and after each completed write.
  virtual void on_access(uint64_t device_ino, DataRange range, MediaAccess access) = 0;
};

}  // namespace pmemd
