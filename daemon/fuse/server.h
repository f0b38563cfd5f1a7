// The FUSE session on a connection: reads requests in threads of its own (one, while requests are
// short: daemon/fuse/request_readers.h) and has libfuse dispatch them. It doesn't know what is
// mounted, or where: tests play the kernel over a socket.
//
// The request loop is ours (docs/adr/0004): it uses libfuse's public calls, sees each request first
// (it answers O_TMPFILE, which libfuse 3.14 doesn't know) and ends without cancelling threads.
//
// Thread contract: create(), start(), expect_end(), stop() from one thread that serves no requests;
// want_thread(), nobody_reads() from any.
#pragma once

#include <semaphore.h>

#include <atomic>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/base/mutex.h"
#include "core/base/unique_fd.h"
#include "daemon/fuse/context.h"
#include "daemon/fuse/request_readers.h"

namespace pmemd {

class FuseServer {
 public:
  static constexpr unsigned kMaxThreads = 64;

  // `connection`: a mount's, or anything that keeps message boundaries as /dev/fuse does (a
  // SOCK_SEQPACKET socket). ENOMEM: libfuse makes no session. EINVAL: it refuses the descriptor.
  static Result<std::unique_ptr<FuseServer>> create(FuseContext& context, UniqueFd connection);
  ~FuseServer();  // stopped
  FuseServer(const FuseServer&) = delete;
  FuseServer& operator=(const FuseServer&) = delete;

  // At most kMaxThreads. Throws std::bad_alloc if it can't start that many; stop() ends those that
  // run.
  void start(unsigned threads);
  // The connection is about to end: from now on its end isn't a loss.
  void expect_end() { stopping_ = true; }
  // Ends the threads, and with the session the kernel's connection.
  void stop() PMEMD_EXCLUDES(mutex_);

  // Asks for another request thread. Doesn't wait for it: the kernel may need memory for a thread,
  // and that may wait for requests. False: one is being made, the last could not be made (it is
  // tried again), or the server stops.
  bool want_thread() noexcept;
  // All threads are in requests, and nobody reads the next one.
  bool nobody_reads() const { return readers_.reading() == 0; }
  // Set before start(). `tell` is called when nobody reads, with any lock held, and often.
  void on_exhausted(std::function<void()> tell) { readers_.on_exhausted(std::move(tell)); }

  fuse_session* session() { return session_; }
  // Set before start(). `callback` is called once, in any thread, when the connection ended
  // unexpectedly.
  void on_lost(std::function<void()> callback) { lost_ = std::move(callback); }

 private:
  explicit FuseServer(FuseContext& context);

  void serve(void* buffer);
  // Has a message answered. EIO: it isn't as long as its header says.
  void dispatch(int fd, void* message, size_t size);
  void make_wanted_threads();
  // False: there are kMaxThreads, none can be made, or the server stops.
  bool add_thread() PMEMD_EXCLUDES(mutex_);

  FuseContext& context_;
  fuse_session* session_ = nullptr;
  std::function<void()> lost_;
  std::atomic<bool> stopping_ = false;
  RequestReaders readers_;

  Mutex mutex_;
  CondVar thread_ended_cv_;
  unsigned running_ PMEMD_GUARDED_BY(mutex_) = 0;
  std::vector<std::thread> threads_ PMEMD_GUARDED_BY(mutex_);

  sem_t wanted_;  // posted when a thread is wanted, or at stop()
  std::atomic<bool> is_making_ = false;
  std::atomic<bool> has_failed_ = false;  // to make the last thread that was wanted
  std::thread maker_;
};

// Answers a FUSE_TMPFILE request that was read from `fd`. False: `request` is another kind, or
// comes before INIT: libfuse refuses it.
bool answer_tmpfile(FuseContext& context, int fd, const void* request, size_t size);

}  // namespace pmemd
