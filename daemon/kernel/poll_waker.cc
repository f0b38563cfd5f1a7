#include "daemon/kernel/poll_waker.h"

#include <fuse3/fuse_lowlevel.h>
#include <pthread.h>

#include "core/base/memory.h"

namespace pmemd {

PollWaker::PollWaker() : thread_([this] { run(); }) {}

PollWaker::~PollWaker() {
  {
    MutexLock lock(mutex_);
    stop_ = true;
    work_cv_.notify_all();
  }
  thread_.join();
}

void PollWaker::wake(std::pair<uint64_t, uint64_t> file, PollHandle handle) {
  const MustAllocate it_has_happened;
  MutexLock lock(mutex_);
  noted_[file].swap(handle);  // the earlier one, if any, is destroyed by the caller
  work_cv_.notify_one();
}

void PollWaker::run() {
  pthread_setname_np(pthread_self(), "poll-waker");
  while (true) {
    Noted batch;
    {
      MutexLock lock(mutex_);
      while (noted_.empty() && !stop_) work_cv_.wait(mutex_);
      if (stop_) return;
      batch.swap(noted_);
    }
    // The kernel doesn't know a file that was closed meanwhile: nothing happens.
    for (const auto& [file, handle] : batch) fuse_lowlevel_notify_poll(handle.get());
  }
}

}  // namespace pmemd
