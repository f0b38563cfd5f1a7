// FUSE operations on attributes: getattr, setattr, xattrs, statfs.
#include <sys/xattr.h>

#include <array>
#include <cstring>
#include <ctime>
#include <string>
#include <string_view>

#include "daemon/fuse/context.h"

namespace pmemd {
namespace {

void reply_attr(fuse_req_t req, const Result<Attr>& attr) {
  if (!attr) return reply_error(req, attr.err());
  const struct stat st = to_stat(*attr);
  answer(fuse_reply_attr, req, &st, attr_seconds(*attr));
}

void op_getattr(fuse_req_t req, fuse_ino_t ino, fuse_file_info* /*fi*/) {
  FuseContext& context = context_of(req);
  if (ino == FUSE_ROOT_ID) return reply_attr(req, root_attr(context));
  const DevicePtr device = context.devices.by_ino(ino);
  if (!device) return reply_error(req, ESTALE);
  const auto request = device->admit(Admission::kGetattr, origin_of(req, ino, "GETATTR"));
  if (request) return reply_attr(req, device->content().getattr(*request, ino));
  // fstat of a removed device's file keeps working.
  const auto last = device->content().last_attributes(ino);
  if (!last) return reply_error(req, request.err());
  const struct stat st = to_stat(*last);
  answer(fuse_reply_attr, req, &st, 0.0);
}

SetAttr to_change(const struct stat& st, int to_set) {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  SetAttr change;
  if ((to_set & FUSE_SET_ATTR_MODE) != 0) change.mode = st.st_mode & 07777;
  if ((to_set & FUSE_SET_ATTR_UID) != 0) change.uid = st.st_uid;
  if ((to_set & FUSE_SET_ATTR_GID) != 0) change.gid = st.st_gid;
  if ((to_set & FUSE_SET_ATTR_SIZE) != 0) change.size = static_cast<uint64_t>(st.st_size);
  if ((to_set & FUSE_SET_ATTR_ATIME) != 0) change.atime = st.st_atim;
  if ((to_set & FUSE_SET_ATTR_MTIME) != 0) change.mtime = st.st_mtim;
  if ((to_set & FUSE_SET_ATTR_CTIME) != 0) change.ctime = st.st_ctim;
  if ((to_set & FUSE_SET_ATTR_ATIME_NOW) != 0) change.atime = now;
  if ((to_set & FUSE_SET_ATTR_MTIME_NOW) != 0) change.mtime = now;
  return change;
}

void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat* st, int to_set,
                fuse_file_info* /*fi*/) {
  const auto admitted = admit(context_of(req), Admission::kNode, origin_of(req, ino, "SETATTR"));
  if (!admitted) return reply_error(req, admitted.err());
  reply_attr(req, admitted->content().setattr(admitted->request, ino, to_change(*st, to_set)));
}

// A change of the access ACL by somebody outside the owning group clears S_ISGID, as in
// fs/posix_acl.c posix_acl_update_mode() @v6.12; the kernel leaves it to us.
bool kills_sgid(fuse_req_t req, FileSystem& fs, fuse_ino_t ino, std::string_view name) {
  if (name != "system.posix_acl_access") return false;
  const fuse_ctx* ctx = fuse_req_ctx(req);
  const auto attr = fs.getattr(ino);
  if (!attr || (attr->mode & S_ISGID) == 0 || ctx->uid == 0 || ctx->gid == attr->gid) return false;
  std::array<gid_t, 256> groups{};
  const int count = fuse_req_getgroups(req, static_cast<int>(groups.size()), groups.data());
  for (int i = 0; i < count && i < static_cast<int>(groups.size()); ++i) {
    if (groups.at(static_cast<size_t>(i)) == attr->gid) return false;
  }
  return true;
}

void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char* name, const char* value, size_t size,
                 int flags) {
  const auto admitted = admit_fsdax(req, ino, "SETXATTR");
  if (!admitted) return reply_error(req, admitted.err());
  const bool kill_sgid = kills_sgid(req, admitted->fs(), ino, name);
  reply(req, admitted->fs().xattrs().set(ino, name, {value, size}, flags, kill_sgid));
}

// `size` 0 asks how long the value is.
void reply_value(fuse_req_t req, std::string_view value, size_t size) {
  if (size == 0) {
    answer(fuse_reply_xattr, req, value.size());
  } else if (value.size() > size) {
    reply_error(req, ERANGE);
  } else {
    answer(fuse_reply_buf, req, value.data(), value.size());
  }
}

void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char* name, size_t size) {
  const auto admitted = admit_fsdax_open(req, ino, "GETXATTR");
  if (!admitted) {  // the root and devdax have none
    const int err = admitted.err();
    return reply_error(req, err == EPERM || err == EOPNOTSUPP ? ENODATA : err);
  }
  const auto value = admitted->fs().xattrs().get(ino, name);
  if (!value) return reply_error(req, value.err());
  reply_value(req, *value, size);
}

void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size) {
  const auto admitted = admit_fsdax(req, ino, "LISTXATTR");
  if (!admitted) {
    const int err = admitted.err();
    if (err != EPERM && err != EOPNOTSUPP) return reply_error(req, err);
    return reply_value(req, {}, size);
  }
  const auto names = admitted->fs().xattrs().list(ino);
  if (!names) return reply_error(req, names.err());
  std::string list;
  for (const std::string& name : *names) {
    // As in fs/ext4/xattr_trusted.c: they don't exist for anybody but the administrator.
    if (name.starts_with("trusted.") && fuse_req_ctx(req)->uid != 0) continue;
    list.append(name).push_back('\0');
  }
  reply_value(req, list, size);
}

void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char* name) {
  const auto admitted = admit_fsdax(req, ino, "REMOVEXATTR");
  if (!admitted) return reply_error(req, admitted.err());
  reply(req, admitted->fs().xattrs().remove(ino, name));
}

void op_statfs(fuse_req_t req, fuse_ino_t ino) {
  struct statvfs of_root = {};
  of_root.f_bsize = of_root.f_frsize = kPageSize;
  of_root.f_namemax = 255;
  const DevicePtr device = context_of(req).devices.by_ino(ino);
  if (!device) return void(answer(fuse_reply_statfs, req, &of_root));
  const auto request = device->admit(Admission::kNode, origin_of(req, ino, "STATFS"));
  if (!request) return reply_error(req, request.err());
  const auto found = device->content().statfs(*request);
  if (!found) return reply_error(req, found.err());
  answer(fuse_reply_statfs, req, &*found);
}

}  // namespace

void add_attr_operations(fuse_lowlevel_ops& ops) {
  ops.getattr = Operation<op_getattr>::serve;
  ops.setattr = Operation<op_setattr>::serve;
  ops.setxattr = Operation<op_setxattr>::serve;
  ops.getxattr = Operation<op_getxattr>::serve;
  ops.listxattr = Operation<op_listxattr>::serve;
  ops.removexattr = Operation<op_removexattr>::serve;
  ops.statfs = Operation<op_statfs>::serve;
}

}  // namespace pmemd
