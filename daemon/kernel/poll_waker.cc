#include "daemon/kernel/poll_waker.h"

#include <fuse3/fuse_lowlevel.h>

#include "core/base/memory.h"

namespace pmemd {

void PollWaker::wake(std::pair<uint64_t, uint64_t> file, PollHandle handle) {
  const MustAllocate it_has_happened;
  {
    MutexLock lock(mutex_);
    noted_[file].swap(handle);  // the earlier one, if any, is destroyed by the caller
  }
  worker_.submit_once({.owner = this}, [this] { wake_noted(); });
}

void PollWaker::wake_noted() {
  Noted batch;
  {
    MutexLock lock(mutex_);
    batch.swap(noted_);
  }
  // The kernel doesn't know a file that was closed meanwhile: nothing happens.
  for (const auto& [file, handle] : batch) fuse_lowlevel_notify_poll(handle.get());
}

}  // namespace pmemd
