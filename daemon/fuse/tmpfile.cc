// O_TMPFILE at protocol level: libfuse 3.14 doesn't know opcode FUSE_TMPFILE (3.17 does).
//
// Models: fs/fuse/dir.c fuse_tmpfile() @v6.12: the request is FUSE_CREATE's, on the directory.
#include <fcntl.h>
#include <linux/fuse.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cstring>

#include "daemon/fuse/server.h"

namespace pmemd {
namespace {

fuse_attr to_wire(const Attr& attr) {
  fuse_attr wire = {};
  wire.ino = attr.ino;
  wire.size = attr.size;
  wire.blocks = attr.blocks;
  wire.atime = static_cast<uint64_t>(attr.atime.tv_sec);
  wire.mtime = static_cast<uint64_t>(attr.mtime.tv_sec);
  wire.ctime = static_cast<uint64_t>(attr.ctime.tv_sec);
  wire.atimensec = static_cast<uint32_t>(attr.atime.tv_nsec);
  wire.mtimensec = static_cast<uint32_t>(attr.mtime.tv_nsec);
  wire.ctimensec = static_cast<uint32_t>(attr.ctime.tv_nsec);
  wire.mode = attr.mode;
  wire.nlink = attr.nlink;
  wire.uid = attr.uid;
  wire.gid = attr.gid;
  wire.blksize = kPageSize;
  return wire;
}

// False: the kernel didn't take the reply.
bool send(int fd, uint64_t unique, int err, std::array<iovec, 2> body) {
  fuse_out_header header = {};
  header.unique = unique;
  header.error = -err;
  header.len = static_cast<uint32_t>(sizeof(header) + body[0].iov_len + body[1].iov_len);
  const std::array<iovec, 3> parts = {iovec{&header, sizeof(header)}, body[0], body[1]};
  return writev(fd, parts.data(), err == 0 ? 3 : 1) == static_cast<ssize_t>(header.len);
}

Result<void> make_tmpfile(FuseContext& context, int fd, const fuse_in_header& header,
                          const fuse_create_in& in) {
  PMEMD_TRY(check_memory());
  PMEMD_ASSIGN(const auto admitted, admit_fsdax(context, Admission::kRequest,
                                                {.what = "TMPFILE",
                                                 .pid = static_cast<pid_t>(header.pid),
                                                 .ino = header.nodeid}));
  PMEMD_ASSIGN(OpenHandle opening, begin_open(context, header.uid, static_cast<pid_t>(header.pid),
                                              (in.flags & O_ACCMODE) != O_RDONLY));
  const Caller caller = {
      .uid = header.uid, .gid = header.gid, .umask = static_cast<mode_t>(in.umask)};
  PMEMD_ASSIGN(const Attr attr,
               admitted.fs().tmpfile(header.nodeid, static_cast<mode_t>(in.mode & 07777), caller));
  Device& device = *admitted.device;
  const MustAllocate made;
  device.lookups().count(attr.ino);
  opening.ino = attr.ino;
  const auto handle = device.handles().add(std::move(opening));
  if (!handle) {
    device.lookups().forget(attr.ino, 1);
    return fail(handle.err());
  }
  fuse_entry_out entry = {};
  entry.nodeid = attr.ino;
  entry.entry_valid = entry.attr_valid = static_cast<uint64_t>(kCacheSeconds);
  entry.attr = to_wire(attr);
  fuse_open_out open = {};
  open.fh = *handle;
  open.open_flags = FOPEN_KEEP_CACHE;
  if (!send(fd, header.unique, 0, {iovec{&entry, sizeof(entry)}, iovec{&open, sizeof(open)}})) {
    device.handles().remove(*handle);
    device.lookups().forget(attr.ino, 1);
  }
  return {};
}

}  // namespace

bool answer_tmpfile(FuseContext& context, int fd, const void* request, size_t size) {
  fuse_in_header header = {};
  fuse_create_in in = {};
  if (size < sizeof(header) + sizeof(in)) return false;
  std::memcpy(&header, request, sizeof(header));
  if (header.opcode != FUSE_TMPFILE) return false;
  if (!context.is_initialized.load(std::memory_order_acquire)) return false;
  std::memcpy(&in, static_cast<const char*>(request) + sizeof(header), sizeof(in));
  auto made = or_no_memory([&] { return make_tmpfile(context, fd, header, in); });
  if (!made) {
    send(fd, header.unique, made.err(), {iovec{nullptr, 0}, iovec{nullptr, 0}});
  }
  return true;
}

}  // namespace pmemd
