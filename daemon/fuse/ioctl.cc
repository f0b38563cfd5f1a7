// ioctl: how programs tell us and ask us things through an open file (client/pmemd_ioctl.h).
#include "daemon/fuse/ioctl.h"

#include <array>
#include <cstddef>
#include <optional>
#include <span>

#include "client/pmemd_ioctl.h"

namespace pmemd {

void reply_done(fuse_req_t req, const Result<void>& result) {
  if (!result) return reply_error(req, result.err());
  answer(fuse_reply_ioctl, req, 0, nullptr, 0);
}

Result<FileRange> range_in_file(const Ioctl& call, uint64_t offset, uint64_t length) {
  PMEMD_ASSIGN(const auto request,
               call.device->admit(Admission::kNode, origin_of(call.req, call.ino, "IOCTL")));
  PMEMD_ASSIGN(const Attr attr, call.device->content().getattr(request, call.ino));
  if (length == 0 || offset > attr.size || length > attr.size - offset) return fail(EINVAL);
  return FileRange::sized(offset, length);
}

namespace {

void do_pin(const Ioctl& call) {
  auto pin = argument<pmemd_pin>(call);
  const auto range = range_in_file(call, pin.offset, pin.length);
  if (!range) return reply_error(call.req, range.err());
  const auto id = add_for_caller(call, [&](pid_t pid, UserBudget::Charge charge) {
    return call.device->handles().pin(call.handle, pid, *range, std::move(charge));
  });
  if (!id) return reply_error(call.req, id.err());
  pin.id = *id;
  reply_value(call.req, pin);
}

void do_unpin(const Ioctl& call) {
  const auto id = argument<uint64_t>(call);
  reply_done(call.req, call.device->handles().end_claim(call.handle, ReferenceKind::kPin, id));
}

// A process that may read a file may ask about it, and drop its own claims. Commands that change
// the file for others, or make them wait, need write access.
enum class Wants { kAny, kWriter };

struct Command {
  unsigned code;
  Wants wants;
  std::optional<Admission> access;  // of one kind of memory: the content refuses it elsewhere
  void (*run)(const Ioctl& call);
};
constexpr std::array kCommands = {
    Command{PMEMD_IOC_PIN, Wants::kWriter, {}, do_pin},
    Command{PMEMD_IOC_UNPIN, Wants::kAny, {}, do_unpin},
    Command{PMEMD_IOC_MAP, Wants::kAny, {}, do_map},
    Command{PMEMD_IOC_UNMAP, Wants::kAny, {}, do_unmap},
    Command{PMEMD_IOC_READ_EVENT, Wants::kAny, {}, do_read_event},
    Command{PMEMD_IOC_ANSWER, Wants::kAny, {}, do_answer},
    Command{PMEMD_IOC_TAKEOVER, Wants::kWriter, {}, do_takeover},
    Command{PMEMD_IOC_END_TAKEOVER, Wants::kAny, {}, do_end_takeover},
    Command{PMEMD_IOC_QUERY, Wants::kAny, {}, do_query},
    Command{PMEMD_IOC_INFO, Wants::kAny, {}, do_info},
    Command{PMEMD_IOC_MIGRATE, Wants::kWriter, Admission::kMigrate, do_migrate},
    Command{PMEMD_IOC_P2P_ALLOC, Wants::kWriter, Admission::kBuffer, do_p2p_alloc},
    Command{PMEMD_IOC_P2P_FREE, Wants::kAny, Admission::kBuffer, do_p2p_free},
};

void run(const Command& command, const Ioctl& call) {
  if (command.access) {
    const auto admitted =
        call.device->admit(*command.access, origin_of(call.req, call.ino, "IOCTL"));
    if (!admitted) return reply_error(call.req, admitted.err());
  }
  if (command.wants == Wants::kWriter && !call.device->claims().is_writable(call.handle)) {
    return reply_error(call.req, EBADF);
  }
  command.run(call);
}

void op_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned code, void* /*argument*/, fuse_file_info* fi,
              unsigned flags, const void* in, size_t in_size, size_t /*out_size*/) {
  const DevicePtr device = context_of(req).devices.by_ino(ino);
  if (!device || (flags & FUSE_IOCTL_DIR) != 0) return reply_error(req, ENOTTY);
  const Ioctl call{req, device, ino, fi->fh, {static_cast<const std::byte*>(in), in_size}};
  for (const Command& command : kCommands) {
    if (command.code == code) return run(command, call);
  }
  reply_error(req, ENOTTY);
}

}  // namespace

void add_ioctl_operations(fuse_lowlevel_ops& ops) { ops.ioctl = Operation<op_ioctl>::serve; }

}  // namespace pmemd
