// ioctl: what programs tell us and ask of us through a file that they have open
// (client/pmemd_ioctl.h).
#include <array>
#include <cstddef>
#include <span>

#include "client/pmemd_ioctl.h"
#include "daemon/ioctl.h"

namespace pmemd {

void reply_done(fuse_req_t req, const Result<void>& result) {
  if (!result) return reply_error(req, result.err());
  fuse_reply_ioctl(req, 0, nullptr, 0);
}

Result<FileRange> range_in_file(const Ioctl& call, uint64_t offset, uint64_t length) {
  uint64_t size = call.device->record().data_bytes();
  if (call.device->is_fsdax()) {
    PMEMD_ASSIGN(const auto admitted, admit_fsdax(call.req, call.ino, "IOCTL"));
    PMEMD_ASSIGN(const Attr attr, admitted.fs().getattr(call.ino));
    size = attr.size;
  }
  if (length == 0 || offset > size || length > size - offset) return fail(EINVAL);
  return FileRange::sized(offset, length);
}

namespace {

void do_pin(const Ioctl& call) {
  auto pin = argument<pmemd_pin>(call);
  const auto range = range_in_file(call, pin.offset, pin.length);
  if (!range) return reply_error(call.req, range.err());
  const auto id =
      add_for_caller(call, [&](pid_t pid) { return call.device->pin(call.handle, pid, *range); });
  if (!id) return reply_error(call.req, id.err());
  pin.id = *id;
  reply_value(call.req, pin);
}

void do_unpin(const Ioctl& call) {
  const auto id = argument<uint64_t>(call);
  reply_done(call.req, call.device->end_claim(call.handle, ReferenceKind::kPin, id));
}

struct Command {
  unsigned code;
  void (*run)(const Ioctl& call);
};
constexpr std::array kCommands = {
    Command{PMEMD_IOC_PIN, do_pin},
    Command{PMEMD_IOC_UNPIN, do_unpin},
    Command{PMEMD_IOC_MAP, do_map},
    Command{PMEMD_IOC_UNMAP, do_unmap},
    Command{PMEMD_IOC_READ_EVENT, do_read_event},
    Command{PMEMD_IOC_ANSWER, do_answer},
    Command{PMEMD_IOC_TAKEOVER, do_takeover},
    Command{PMEMD_IOC_END_TAKEOVER, do_end_takeover},
    Command{PMEMD_IOC_QUERY, do_query},
    Command{PMEMD_IOC_INFO, do_info},
    Command{PMEMD_IOC_MIGRATE, do_migrate},
    Command{PMEMD_IOC_P2P_ALLOC, do_p2p_alloc},
    Command{PMEMD_IOC_P2P_FREE, do_p2p_free},
};

void op_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned code, void* /*argument*/, fuse_file_info* fi,
              unsigned flags, const void* in, size_t in_size, size_t /*out_size*/) noexcept {
  const DevicePtr device = context_of(req).devices.by_ino(ino);
  if (!device || (flags & FUSE_IOCTL_DIR) != 0) return reply_error(req, ENOTTY);
  const Ioctl call{req, device, ino, fi->fh, {static_cast<const std::byte*>(in), in_size}};
  for (const Command& command : kCommands) {
    if (command.code == code) return command.run(call);
  }
  reply_error(req, ENOTTY);
}

}  // namespace

void add_ioctl_operations(fuse_lowlevel_ops& ops) { ops.ioctl = op_ioctl; }

}  // namespace pmemd
