#include "daemon/fuse/context.h"

#include <unistd.h>

#include "core/device/file_system_content.h"

namespace pmemd {

namespace {

Result<DevicePtr> device_of(FuseContext& context, uint64_t ino) {
  if (ino == FUSE_ROOT_ID) return fail(EPERM);
  DevicePtr device = context.devices.by_ino(ino);
  if (!device) return fail(ESTALE);
  return device;
}

Result<Admitted> admit_to(DevicePtr device, Admission access, const RequestOrigin& origin) {
  PMEMD_ASSIGN(auto request, device->admit(access, origin));
  return Admitted{std::move(device), std::move(request)};
}

}  // namespace

Result<Admitted> admit(FuseContext& context, Admission access, const RequestOrigin& origin) {
  PMEMD_ASSIGN(DevicePtr device, device_of(context, origin.ino));
  return admit_to(std::move(device), access, origin);
}

Result<Admitted> admit_fsdax(FuseContext& context, Admission access, const RequestOrigin& origin) {
  PMEMD_ASSIGN(DevicePtr device, device_of(context, origin.ino));
  if (device->content().root_type() != S_IFDIR) return fail(EOPNOTSUPP);
  return admit_to(std::move(device), access, origin);
}

Result<Admitted> admit_fsdax(fuse_req_t req, fuse_ino_t ino, const char* what) {
  return admit_fsdax(context_of(req), Admission::kRequest, origin_of(req, ino, what));
}

Result<Admitted> admit_fsdax_open(fuse_req_t req, fuse_ino_t ino, const char* what) {
  FuseContext& context = context_of(req);
  const bool is_ours = context.is_own_thread(fuse_req_ctx(req)->pid);
  return admit_fsdax(context, is_ours ? Admission::kWriteback : Admission::kRequest,
                     origin_of(req, ino, what));
}

RequestOrigin origin_of(fuse_req_t req, fuse_ino_t ino, const char* what, FileRange range) {
  return {.what = what, .pid = fuse_req_ctx(req)->pid, .ino = ino, .range = range};
}

Caller caller_of(fuse_req_t req) {
  const fuse_ctx* ctx = fuse_req_ctx(req);
  return {.uid = ctx->uid, .gid = ctx->gid, .umask = ctx->umask};
}

struct stat to_stat(const Attr& attr) {
  struct stat st = {};
  st.st_ino = attr.ino;
  st.st_mode = attr.mode;
  st.st_nlink = attr.nlink;
  st.st_uid = attr.uid;
  st.st_gid = attr.gid;
  st.st_rdev = attr.rdev;
  st.st_size = static_cast<off_t>(attr.size);
  st.st_blksize = static_cast<blksize_t>(kPageSize);
  st.st_blocks = static_cast<blkcnt_t>(attr.blocks + attr.dirtied_blocks);
  st.st_atim = attr.atime;
  st.st_mtim = attr.mtime;
  st.st_ctim = attr.ctime;
  return st;
}

fuse_entry_param to_entry(const Attr& attr) {
  fuse_entry_param entry = {};
  entry.ino = attr.ino;
  entry.generation = 0;  // inode numbers are never reused
  entry.attr = to_stat(attr);
  entry.attr_timeout = attr_seconds(attr);
  entry.entry_timeout = kCacheSeconds;
  return entry;
}

void reply_error(fuse_req_t req, int err) { answer(fuse_reply_err, req, err); }

void reply_entry(fuse_req_t req, Device& device, const Result<Attr>& attr) {
  if (!attr) return reply_error(req, attr.err());
  device.lookups().count(attr->ino);
  const fuse_entry_param entry = to_entry(*attr);
  if (answer(fuse_reply_entry, req, &entry) != 0) device.lookups().forget(attr->ino, 1);
}

void reply_entry(fuse_req_t req, const Admitted& admitted, const Result<Attr>& attr) {
  const auto told = attr ? FileSystemContent::with_dirtied(admitted.request, *attr) : attr;
  reply_entry(req, *admitted.device, told);
}

Result<OpenHandle> begin_open(FuseContext& context, uid_t uid, pid_t pid, bool writable) {
  auto charge = context.budgets.handles.charge(uid);
  if (!charge) return fail(EMFILE);
  return OpenHandle{.pid = pid, .writable = writable, .charge = *std::move(charge)};
}

Result<OpenHandle> begin_open(fuse_req_t req, bool writable) {
  return begin_open(context_of(req), fuse_req_ctx(req)->uid, fuse_req_ctx(req)->pid, writable);
}

void release_handle(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi) {
  if (const DevicePtr device = context_of(req).devices.by_ino(ino)) {
    device->handles().remove(fi->fh);
    return_buffers_later(context_of(req), device);
  }
  reply_error(req, 0);
}

Attr root_attr(const FuseContext& context) {
  Attr attr = {.ino = FUSE_ROOT_ID, .mode = S_IFDIR | 0755, .nlink = 2};
  attr.uid = geteuid();
  attr.gid = getegid();
  attr.size = kPageSize;
  attr.atime = attr.mtime = attr.ctime = attr.btime = context.started;
  return attr;
}

}  // namespace pmemd
