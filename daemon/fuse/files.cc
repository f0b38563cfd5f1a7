// FUSE operations on file data: open, read, write, fallocate, lseek, fsync.
//
// Pages that a READ or a buffered write leaves in the page cache are lent, and recorded as lent
// before the reply leaves (core/references/lease_table.h).
#include <fcntl.h>

#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "core/base/fault.h"
#include "daemon/fuse/context.h"
#include "daemon/kernel/failure_queue.h"
#include "daemon/kernel/prefaulter.h"

namespace pmemd {
namespace {

FaultPoint fault_read("read.begin", "a READ of a file; nothing is done yet");

bool is_writable(int flags) { return (flags & O_ACCMODE) != O_RDONLY; }
bool is_direct(const fuse_file_info* fi) { return (fi->flags & O_DIRECT) != 0; }

// The pages that hold these bytes.
FileRange pages_of(uint64_t offset, uint64_t length) {
  return FileRange::sized(offset, length).widened_to(kPageSize);
}

Result<uint64_t> add_handle(Device& device, fuse_ino_t ino, Result<OpenHandle> opening) {
  if (!opening) return std::unexpected(std::move(opening).error());
  opening->ino = ino;
  return device.handles().add(*std::move(opening));
}

void op_open(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi) {
  FuseContext& context = context_of(req);
  fi->keep_cache = 1;  // the page cache is the memory: an open must not drop it
  const DevicePtr device = context.devices.by_ino(ino);
  if (!device) return reply_error(req, ESTALE);
  if (context.is_own_thread(fuse_req_ctx(req)->pid)) {  // a flush, perhaps of a dying device
    answer(fuse_reply_open, req, fi);
    return;
  }
  const auto handle = add_handle(*device, ino, begin_open(req, is_writable(fi->flags)));
  if (!handle) return reply_error(req, handle.err());
  fi->fh = *handle;
  if (answer(fuse_reply_open, req, fi) != 0) device->handles().remove(fi->fh);
}

void op_create(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode,
               fuse_file_info* fi) {
  const auto admitted = admit_fsdax(req, parent, "CREATE");
  if (!admitted) return reply_error(req, admitted.err());
  auto opening = begin_open(req, is_writable(fi->flags));
  if (!opening) return reply_error(req, opening.err());
  const auto attr = admitted->fs().mknod(parent, name, S_IFREG | (mode & 07777), 0, caller_of(req));
  if (!attr) return reply_error(req, attr.err());
  Device& device = *admitted->device;
  const MustAllocate made;
  // A failure: the device was removed just now; the file exists, but isn't open.
  const auto handle = add_handle(device, attr->ino, std::move(opening));
  if (!handle) return reply_error(req, handle.err());
  fi->fh = *handle;
  fi->keep_cache = 1;
  device.lookups().count(attr->ino);
  const fuse_entry_param entry = to_entry(*attr);
  if (answer(fuse_reply_create, req, &entry, fi) != 0) {
    device.handles().remove(fi->fh);
    device.lookups().forget(attr->ino, 1);
  }
}

// Consecutive small READs are touches of a mapping: reads ahead around them.
void note_touch(FuseContext& context, Device& device, pid_t pid, uint64_t ino, FileRange range) {
  if (context.prefaulter == nullptr) return;
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  const auto now_ms = static_cast<uint64_t>(now.tv_sec * 1000 + now.tv_nsec / 1'000'000);
  const auto hot = context.hot_ranges.note(ino, range, now_ms);
  if (!hot || device.state() != Device::State::kLive || context.is_own_thread(pid) ||
      !context.may_read_ahead(device)) {
    return;
  }
  context.prefaulter->read_ahead_later({.ino = ino, .range = *hot});
}

void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, fuse_file_info* fi) {
  const DevicePtr device = context_of(req).devices.by_ino(ino);
  if (!device) return reply_error(req, ESTALE);
  if (const auto hit = fault_read.hit(); !hit) return reply_error(req, hit.err());
  const auto range = FileRange::sized(static_cast<uint64_t>(offset), size);
  const auto origin = origin_of(req, ino, "READ", range);
  const auto request = device->admit(Admission::kRead, origin);
  if (!request) return reply_error(req, request.err());

  // If a readahead fails, the kernel reads its pages again one by one, when they are needed.
  const auto reader =
      size > kPageSize && !is_direct(fi) ? Media::Reader::kReadahead : Media::Reader::kProgram;
  const auto atime = (fi->flags & O_NOATIME) != 0 ? Atime::kKeep : Atime::kTouch;
  const auto bytes = device->content().read(*request, ino, range, reader, atime);
  if (!bytes) return reply_error(req, bytes.err());
  uint64_t length = 0;
  for (const iovec& part : bytes->parts) length += part.iov_len;
  if (length > 0 && !is_direct(fi)) {
    const auto lent = device->content().lend(ino, pages_of(range.begin, length));
    if (!lent) return reply_error(req, lent.err());
  }
  FuseContext& context = context_of(req);
  const pid_t pid = fuse_req_ctx(req)->pid;
  // Bytes that the host can't read make the reply's writev fail, and the kernel answers EIO.
  const int replied =
      answer(fuse_reply_iov, req, bytes->parts.data(), static_cast<int>(bytes->parts.size()));
  if (replied == 0 && !is_direct(fi) && bytes->may_read_ahead) {
    note_touch(context, *device, pid, ino, range);
  }
}

// `writepage`: the kernel writes back what a mapping stored. A dying device still takes it; if it
// isn't taken now, it is lost.
void op_write(fuse_req_t req, fuse_ino_t ino, const char* buf, size_t size, off_t offset,
              fuse_file_info* fi) {
  const bool is_writeback = fi->writepage != 0;
  std::optional<MustAllocate> must;
  if (is_writeback) must.emplace();
  if (const auto enough = check_memory(); !enough && !is_writeback) {
    return reply_error(req, enough.err());
  }
  const DevicePtr device = context_of(req).devices.by_ino(ino);
  if (!device) return reply_error(req, ESTALE);
  const auto origin = origin_of(req, ino, is_writeback ? "WRITEBACK" : "WRITE",
                                FileRange::sized(static_cast<uint64_t>(offset), size));
  DeviceContent& content = device->content();
  const auto request =
      device->admit(is_writeback ? Admission::kWriteback : Admission::kWrite, origin);
  Result<size_t> written = fail(content.gone_errno());
  if (request) {
    written = or_no_memory([&] {
      return content.write(*request, ino, origin.range.begin, std::as_bytes(std::span(buf, size)),
                           is_writeback ? Media::Writer::kWriteback : Media::Writer::kProgram);
    });
  }
  if (!written) {
    if (is_writeback) {
      device->health().count_lost_writeback();
      // A removal's own report tells what it loses.
      if (request) context_of(req).failures->note_lost(ino, origin.range, written.err());
    }
    return reply_error(req, written.err());
  }
  if (!is_writeback && !is_direct(fi)) {
    const auto lent = content.lend(ino, pages_of(origin.range.begin, *written));
    if (!lent) return reply_error(req, lent.err());
  }
  answer(fuse_reply_write, req, *written);
}

void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length,
                  fuse_file_info* /*fi*/) {
  const auto admitted =
      admit(context_of(req), Admission::kRequest, origin_of(req, ino, "FALLOCATE"));
  if (!admitted) return reply_error(req, admitted.err());
  const auto range = FileRange::sized(static_cast<uint64_t>(offset), static_cast<uint64_t>(length));
  reply(req, admitted->content().fallocate(admitted->request, ino, mode, range));
}

void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence, fuse_file_info* /*fi*/) {
  const auto admitted = admit(context_of(req), Admission::kNode, origin_of(req, ino, "LSEEK"));
  if (!admitted) return reply_error(req, admitted.err());
  const auto found =
      admitted->content().lseek(admitted->request, ino, static_cast<uint64_t>(offset), whence);
  if (!found) return reply_error(req, found.err());
  answer(fuse_reply_lseek, req, static_cast<off_t>(*found));
}

void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, fuse_file_info* /*fi*/) {
  const DevicePtr device = context_of(req).devices.by_ino(ino);
  if (!device) return reply_error(req, ESTALE);
  const auto request = device->admit(Admission::kFsync, origin_of(req, ino, "FSYNC"));
  if (!request) return reply_error(req, request.err());
  reply(req, device->content().fsync(*request, ino, datasync != 0));
}

}  // namespace

void add_file_operations(fuse_lowlevel_ops& ops) {
  ops.open = Operation<op_open>::serve;
  ops.create = Operation<op_create>::serve;
  ops.release = Unrefused<release_handle>::serve;
  ops.read = Operation<op_read>::serve;
  ops.write = [](fuse_req_t req, fuse_ino_t ino, const char* buf, size_t size, off_t offset,
                 fuse_file_info* fi) noexcept {
    serve_request(req, [&] { op_write(req, ino, buf, size, offset, fi); });
  };
  ops.fallocate = Operation<op_fallocate>::serve;
  ops.lseek = Operation<op_lseek>::serve;
  ops.fsync = Operation<op_fsync>::serve;
  // No flush: the kernel is told once that there is none (ENOSYS) and still writes back on close.
  // No flock, getlk, setlk: the kernel keeps all locks of a mount whose files only it opens.
}

}  // namespace pmemd
