// The FUSE session: mounts, reads requests in threads of its own (one, while they are short:
// daemon/fuse/request_readers.h), has libfuse dispatch them.
//
// The request loop is ours (docs/adr/0004): it uses libfuse's public calls, sees each request first
// (O_TMPFILE, which libfuse 3.14 doesn't know, is answered here) and ends without cancelling
// threads.
//
// Thread contract: create(), start(), unmount(), stop() from one thread that serves no requests;
// want_thread(), nobody_reads() from any.
#pragma once

#include <semaphore.h>

#include <atomic>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "core/base/error.h"
#include "core/base/mutex.h"
#include "daemon/fuse/context.h"
#include "daemon/fuse/request_readers.h"
#include "daemon/host/mount.h"

namespace pmemd {

class FuseServer {
 public:
  static constexpr unsigned kMaxThreads = 64;

  // Mounts on `point`, which outlives the server. Errors as Mount::make().
  static Result<std::unique_ptr<FuseServer>> create(FuseContext& context, const MountPoint& point,
                                                    const MountOptions& options);
  ~FuseServer();  // unmounted and stopped
  FuseServer(const FuseServer&) = delete;
  FuseServer& operator=(const FuseServer&) = delete;

  // Returns when the kernel and we have agreed on the session (INIT). Throws std::bad_alloc where
  // that many threads can't be had; those that run are stop()'s.
  void start(unsigned threads);
  // Errors as Mount::unmount().
  Result<void> unmount();
  // Ends the threads, and with the session the kernel's connection.
  void stop() PMEMD_EXCLUDES(mutex_);

  // Asks for another thread for requests. Doesn't wait for it: the kernel may want memory for one,
  // and that may wait for requests. False: one is being made, the last could not be (it is tried
  // again), or it stops.
  bool want_thread() noexcept;
  // All threads are in requests, and nobody reads the next one.
  bool nobody_reads() const { return readers_.reading() == 0; }
  // Called when that is found, with any lock held, and often. Before start().
  void on_exhausted(std::function<void()> tell) { readers_.on_exhausted(std::move(tell)); }

  fuse_session* session() { return session_; }
  dev_t device_number() const { return mount_->id().device_number; }  // the mount's st_dev
  // Called once, in no thread in particular, when the mount went away without unmount().
  void on_lost_mount(std::function<void()> callback) { lost_mount_ = std::move(callback); }

 private:
  FuseServer(FuseContext& context, const MountPoint& point);

  void serve(void* buffer);
  void make_wanted_threads();
  // False: there are kMaxThreads, none can be made, or it stops.
  bool add_thread() PMEMD_EXCLUDES(mutex_);

  FuseContext& context_;
  const MountPoint& point_;
  std::optional<Mount> mount_;  // from create() on
  fuse_session* session_ = nullptr;
  std::function<void()> lost_mount_;
  std::atomic<bool> stopping_ = false;
  RequestReaders readers_;

  Mutex mutex_;
  CondVar thread_ended_cv_;
  unsigned running_ PMEMD_GUARDED_BY(mutex_) = 0;
  std::vector<std::thread> threads_ PMEMD_GUARDED_BY(mutex_);

  sem_t wanted_;  // a thread is, or it stops
  std::atomic<bool> is_making_ = false;
  std::atomic<bool> has_failed_ = false;  // to make the last one that was wanted
  std::thread maker_;
};

// Answers a FUSE_TMPFILE request that was read from `fd`; false if `request` is another one.
bool answer_tmpfile(FuseContext& context, int fd, const void* request, size_t size);

}  // namespace pmemd
