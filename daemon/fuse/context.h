// The context that the FUSE operations share, and their common helpers.
//
// Only here does a Result become a reply. An operation finds its device, is admitted
// (Device::Request, kept until the reply has left), does its work in core and replies; no lock is
// held across a reply.
#pragma once

#define FUSE_USE_VERSION 314
#include <fuse3/fuse_lowlevel.h>
#include <sys/stat.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <new>
#include <utility>

#include "core/base/memory.h"
#include "core/base/worker.h"
#include "core/device/device.h"
#include "core/device/device_table.h"
#include "core/removal/removal.h"
#include "daemon/fuse/request_counts.h"
#include "daemon/fuse/user_budgets.h"
#include "daemon/kernel/hot_ranges.h"
#include "daemon/kernel/poll_waker.h"
#include "daemon/kernel/process_watch.h"

namespace pmemd {

// All changes go through this mount, so the kernel may cache what it was told; a notification takes
// back the names of namespaces in the root.
inline constexpr double kCacheSeconds = 24 * 3600;

class FailureQueue;
class Prefaulter;

struct FuseContext {
  DeviceTable& devices;
  UserBudgets& budgets;
  // These are set before the first request is served.
  ProcessWatch* processes = nullptr;
  Worker* work = nullptr;        // for what a thread that serves requests must not do
  KernelPort* kernel = nullptr;  // for `work`
  PollWaker* waker = nullptr;
  FailureQueue* failures = nullptr;
  // Reads ahead hot ranges; null: nothing is read ahead.
  Prefaulter* prefaulter = nullptr;
  HotRanges hot_ranges = {};
  timespec started = {};  // the root directory's times
  std::function<bool(pid_t)> is_own_thread = [](pid_t) { return false; };
  // Asked before hot ranges are read ahead.
  std::function<bool(const Device&)> may_read_ahead = [](const Device&) { return true; };
  RequestCounts requests = {};
  std::atomic<bool> is_initialized = false;  // the session has accepted an INIT
};

inline FuseContext& context_of(fuse_req_t req) {
  return *static_cast<FuseContext*>(fuse_req_userdata(req));
}

// A device, and a request admitted to it.
struct Admitted {
  DevicePtr device;  // outlives the request
  Device::Request request;

  DeviceContent& content() const { return device->content(); }
  FileSystem& fs() const { return request.fs(); }
};

// EPERM: the mount's root, which only pmemctl changes. ESTALE: no such device ever existed. Other
// errors are Device::admit()'s.
Result<Admitted> admit(FuseContext& context, Admission access, const RequestOrigin& origin);
// To a device with a file system; EOPNOTSUPP: it has none.
Result<Admitted> admit_fsdax(FuseContext& context, Admission access, const RequestOrigin& origin);
Result<Admitted> admit_fsdax(fuse_req_t req, fuse_ino_t ino, const char* what);
// The same for attributes that the kernel reads when a file is opened. Our own thread may open one
// for a flush while the device is dying.
Result<Admitted> admit_fsdax_open(fuse_req_t req, fuse_ino_t ino, const char* what);
RequestOrigin origin_of(fuse_req_t req, fuse_ino_t ino, const char* what, FileRange range = {});
Caller caller_of(fuse_req_t req);

struct stat to_stat(const Attr& attr);
// How long the kernel may cache them: 0 for a file with holes, since pages of a mapping fill these
// without a request.
inline double attr_seconds(const Attr& attr) { return attr.has_holes() ? 0 : kCacheSeconds; }
fuse_entry_param to_entry(const Attr& attr);

// Whether the request that this thread serves has been answered; then libfuse has freed it.
inline thread_local bool t_is_answered = false;
// All replies go through this.
template <class Reply, class... Args>
auto answer(Reply reply, fuse_req_t req, Args... args) {
  t_is_answered = true;
  return reply(req, args...);
}

void reply_error(fuse_req_t req, int err);

// Runs `serve`, which answers a request or leaves that to another thread. No exception leaves it:
// if memory runs out, the request is answered with ENOMEM, unless it has been answered already.
template <class Serve>
void serve_request(fuse_req_t req, Serve&& serve) noexcept {
  t_is_answered = false;
  try {
    serve();
  } catch (const std::bad_alloc&) {
    if (!t_is_answered) reply_error(req, ENOMEM);
  }
}

// An operation as libfuse wants it: Operation<op_open>::serve.
template <auto Op>
struct Operation;
template <class... Args, void (*Op)(fuse_req_t, Args...)>
struct Operation<Op> {
  static void serve(fuse_req_t req, Args... args) noexcept {
    serve_request(req, [&] {
      if (const auto enough = check_memory(); !enough) return reply_error(req, enough.err());
      Op(req, args...);
    });
  }
};
// An operation that gives something back, or must not be lost: it is never refused.
template <auto Op>
struct Unrefused;
template <class... Args, void (*Op)(fuse_req_t, Args...)>
struct Unrefused<Op> {
  static void serve(fuse_req_t req, Args... args) noexcept {
    serve_request(req, [&] {
      const MustAllocate whole;
      Op(req, args...);
    });
  }
};

inline void reply(fuse_req_t req, const Result<void>& result) { reply_error(req, result.err()); }
// Counts the lookup and replies; undoes the count if the kernel didn't take the reply.
void reply_entry(fuse_req_t req, Device& device, const Result<Attr>& attr);
void reply_entry(fuse_req_t req, const Admitted& admitted, const Result<Attr>& attr);

// A new handle, charged to `uid`; the caller fills in its inode. Call before creating a file, so
// that no file is made that can't be opened. EMFILE: that user has too many files open.
Result<OpenHandle> begin_open(FuseContext& context, uid_t uid, pid_t pid, bool writable);
Result<OpenHandle> begin_open(fuse_req_t req, bool writable);
// RELEASE and RELEASEDIR; always succeed.
void release_handle(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi);
// Has the worker free a p2p pool's returning buffers; for other devices, does nothing.
void return_buffers_later(FuseContext& context, const DevicePtr& device);
// The root directory of the mount.
Attr root_attr(const FuseContext& context);

// One source file per group of operations; each function fills in its own.
void add_name_operations(fuse_lowlevel_ops& ops);   // names.cc
void add_file_operations(fuse_lowlevel_ops& ops);   // files.cc
void add_attr_operations(fuse_lowlevel_ops& ops);   // attrs.cc
void add_ioctl_operations(fuse_lowlevel_ops& ops);  // ioctl.cc
void add_poll_operation(fuse_lowlevel_ops& ops);    // ioctl_mapper.cc

}  // namespace pmemd
