// Common parts of the ioctls of a file (client/pmemd_ioctl.h).
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>

#include "daemon/fuse/context.h"

namespace pmemd {

struct Ioctl {
  fuse_req_t req;
  DevicePtr device;
  uint64_t ino;
  uint64_t handle;
  std::span<const std::byte> in;  // while the operation runs
};

// The argument; the kernel has copied sizeof(T) bytes. If there are fewer, the rest is zeros.
template <class T>
T argument(const Ioctl& call) {
  T value{};
  if (call.in.empty()) return value;  // memcpy wants no null pointer
  std::memcpy(&value, call.in.data(), std::min(sizeof(value), call.in.size()));
  return value;
}

template <class T>
void reply_value(fuse_req_t req, const T& value) {
  answer(fuse_reply_ioctl, req, 0, &value, sizeof(value));
}
void reply_done(fuse_req_t req, const Result<void>& result);

// The range. EINVAL: it is empty, or not within the file.
Result<FileRange> range_in_file(const Ioctl& call, uint64_t offset, uint64_t length);

// Adds what the calling process asks for, and charges it to the caller's user. If the process ends
// meanwhile, it is taken back. ESRCH: the process isn't visible from here. ENOMEM: the user has too
// many claims, or too many processes that have some.
template <class Add>
Result<uint64_t> add_for_caller(const Ioctl& call, Add add) {
  ProcessWatch& processes = *context_of(call.req).processes;
  const uid_t uid = fuse_req_ctx(call.req)->uid;
  auto charge = context_of(call.req).budgets.claims.charge(uid);
  if (!charge) return fail(ENOMEM, fmt::format("user {} has too many claims", uid));
  PMEMD_ASSIGN(const pid_t pid, process_of(fuse_req_ctx(call.req)->pid));
  PMEMD_TRY(processes.add(pid, uid));
  PMEMD_ASSIGN(const uint64_t added, add(pid, *std::move(charge)));
  if (!processes.watches(pid)) {
    call.device->handles().remove_process(pid);
    return_buffers_later(context_of(call.req), call.device);
  }
  return added;
}

// Mappers (ioctl_mapper.cc).
void do_map(const Ioctl& call);
void do_unmap(const Ioctl& call);
void do_takeover(const Ioctl& call);
void do_end_takeover(const Ioctl& call);
void do_read_event(const Ioctl& call);
void do_answer(const Ioctl& call);
void do_query(const Ioctl& call);
void do_info(const Ioctl& call);

// private and p2p (ioctl_memory.cc).
void do_migrate(const Ioctl& call);
void do_p2p_alloc(const Ioctl& call);
void do_p2p_free(const Ioctl& call);

}  // namespace pmemd
