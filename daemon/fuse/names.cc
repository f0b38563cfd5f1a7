// FUSE operations on names: lookup, create, link, rename, directories.
#include <fcntl.h>

#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/blocking.h"
#include "core/device/file_system_content.h"
#include "core/pool/schema.h"
#include "daemon/fuse/context.h"

namespace pmemd {
namespace {

// --- the mount's root: one entry per live namespace

void reply_root_entry(fuse_req_t req, FuseContext& context) {
  fuse_entry_param entry = to_entry(root_attr(context));
  answer(fuse_reply_entry, req, &entry);
}

void lookup_in_root(fuse_req_t req, FuseContext& context, const char* name) {
  if (std::strcmp(name, ".") == 0 || std::strcmp(name, "..") == 0) {
    return reply_root_entry(req, context);
  }
  const DevicePtr device = context.devices.by_shown_name(name);
  // An error, not a negative entry: the kernel must not cache that a namespace isn't there.
  if (!device) return reply_error(req, ENOENT);
  const uint64_t ino = device->root_ino();
  const auto request = device->admit(Admission::kNode, origin_of(req, ino, "LOOKUP"));
  if (!request) return reply_error(req, ENOENT);  // removed just now
  const auto attr = device->content().getattr(*request, ino);
  reply_entry(req, *device, attr ? attr : fail(ENOENT));
}

class DirectoryBuffer {
 public:
  DirectoryBuffer(fuse_req_t req, size_t size) : req_(req), buffer_(size, '\0') {}

  bool add(const DirEntry& entry) {
    struct stat st = {};
    st.st_ino = entry.ino;
    st.st_mode = entry.type;
    const size_t wanted =
        fuse_add_direntry(req_, buffer_.data() + used_, buffer_.size() - used_, entry.name.c_str(),
                          &st, static_cast<off_t>(entry.next_cookie));
    if (wanted > buffer_.size() - used_) return false;
    used_ += wanted;
    return true;
  }
  // Adds a lookup's reply, too; not for `.` and `..`, whose attributes nobody needs.
  bool add_plus(const DirEntry& entry, const Attr& attr) {
    fuse_entry_param param = to_entry(attr);
    param.attr.st_ino = entry.ino;
    param.attr.st_mode |= entry.type;
    const size_t wanted =
        fuse_add_direntry_plus(req_, buffer_.data() + used_, buffer_.size() - used_,
                               entry.name.c_str(), &param, static_cast<off_t>(entry.next_cookie));
    if (wanted > buffer_.size() - used_) return false;
    used_ += wanted;
    return true;
  }
  // Not 0: the kernel didn't take the reply.
  int reply() { return answer(fuse_reply_buf, req_, buffer_.data(), used_); }

 private:
  fuse_req_t req_;
  std::string buffer_;
  size_t used_ = 0;
};

// Cookies: 1 and 2 for the dots, then each device's serial + 2. READDIRPLUS gets no attributes, so
// that the kernel looks each device up, and doesn't keep one that goes meanwhile.
void readdir_root(fuse_req_t req, FuseContext& context, size_t size, off_t offset, bool plus) {
  DirectoryBuffer buffer(req, size);
  const auto add = [&](const DirEntry& entry) {
    return plus ? buffer.add_plus(entry, {}) : buffer.add(entry);
  };
  const auto cookie = static_cast<uint64_t>(offset);
  bool fits = true;
  if (cookie < 1) fits = add({".", FUSE_ROOT_ID, S_IFDIR, 1});
  if (cookie < 2 && fits) fits = add({"..", FUSE_ROOT_ID, S_IFDIR, 2});
  for (const DevicePtr& device : context.devices.by_serial()) {
    const uint64_t next = device->record().serial + 2;
    if (!fits || next <= cookie || !device->is_shown()) continue;
    fits = add(
        {device->record().device_name(), device->root_ino(), device->content().root_type(), next});
  }
  (void)buffer.reply();
}

// --- names in an fsdax

void op_lookup(fuse_req_t req, fuse_ino_t parent, const char* name) {
  FuseContext& context = context_of(req);
  if (parent == FUSE_ROOT_ID) return lookup_in_root(req, context, name);
  const DevicePtr device = context.devices.by_ino(parent);
  if (!device) return reply_error(req, ESTALE);
  if (parent == device->root_ino() && std::strcmp(name, "..") == 0) {
    return reply_root_entry(req, context);
  }
  auto request = device->admit(Admission::kNode, origin_of(req, parent, "LOOKUP"));
  if (!request) return reply_error(req, request.err());
  const Admitted admitted{device, *std::move(request)};
  if (device->content().fs() == nullptr) {
    // Only "." of an exported handle gets here.
    if (std::strcmp(name, ".") != 0) return reply_error(req, ENOTDIR);
    return reply_entry(req, *device, device->content().getattr(admitted.request, parent));
  }
  const auto attr = admitted.fs().lookup(parent, name);
  if (attr.err() == ENOENT && name[0] != '.') {
    fuse_entry_param negative = {};  // the kernel may cache that the name doesn't exist
    negative.entry_timeout = kCacheSeconds;
    answer(fuse_reply_entry, req, &negative);
    return;
  }
  reply_entry(req, admitted, attr);
}

void op_mknod(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode, dev_t rdev) {
  const auto admitted = admit_fsdax(req, parent, "MKNOD");
  if (!admitted) return reply_error(req, admitted.err());
  reply_entry(req, *admitted, admitted->fs().mknod(parent, name, mode, rdev, caller_of(req)));
}

void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode) {
  const auto admitted = admit_fsdax(req, parent, "MKDIR");
  if (!admitted) return reply_error(req, admitted.err());
  reply_entry(req, *admitted, admitted->fs().mkdir(parent, name, mode, caller_of(req)));
}

void op_symlink(fuse_req_t req, const char* target, fuse_ino_t parent, const char* name) {
  const auto admitted = admit_fsdax(req, parent, "SYMLINK");
  if (!admitted) return reply_error(req, admitted.err());
  reply_entry(req, *admitted, admitted->fs().symlink(parent, name, target, caller_of(req)));
}

void op_readlink(fuse_req_t req, fuse_ino_t ino) {
  const auto admitted = admit_fsdax(req, ino, "READLINK");
  if (!admitted) return reply_error(req, admitted.err());
  const auto target = admitted->fs().readlink(ino);
  if (!target) return reply_error(req, target.err());
  answer(fuse_reply_readlink, req, target->c_str());
}

void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char* name) {
  if (inode_serial(ino) != inode_serial(parent)) return reply_error(req, EXDEV);
  const auto admitted = admit_fsdax(req, parent, "LINK");
  if (!admitted) return reply_error(req, admitted.err());
  reply_entry(req, *admitted, admitted->fs().link(ino, parent, name));
}

void op_unlink(fuse_req_t req, fuse_ino_t parent, const char* name) {
  const auto admitted = admit_fsdax(req, parent, "UNLINK");
  if (!admitted) return reply_error(req, admitted.err());
  reply(req, admitted->fs().unlink(parent, name));
}

void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char* name) {
  const auto admitted = admit_fsdax(req, parent, "RMDIR");
  if (!admitted) return reply_error(req, admitted.err());
  reply(req, admitted->fs().rmdir(parent, name));
}

void op_rename(fuse_req_t req, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
               const char* new_name, unsigned flags) {
  if (inode_serial(parent) != inode_serial(new_parent)) return reply_error(req, EXDEV);
  const auto admitted = admit_fsdax(req, parent, "RENAME");
  if (!admitted) return reply_error(req, admitted.err());
  reply(req, admitted->fs().rename(parent, name, new_parent, new_name, flags));
}

void op_opendir(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi) {
  DevicePtr device;
  if (ino != FUSE_ROOT_ID) {
    auto admitted = admit_fsdax(req, ino, "OPENDIR");
    if (!admitted) return reply_error(req, admitted.err());
    device = admitted->device;
    auto opening = begin_open(req, /*writable=*/false);
    if (!opening) return reply_error(req, opening.err());
    opening->ino = ino;
    opening->noatime = (fi->flags & O_NOATIME) != 0;
    const auto handle = device->handles().add(*std::move(opening));
    if (!handle) return reply_error(req, handle.err());
    fi->fh = *handle;
  }
  if (answer(fuse_reply_open, req, fi) != 0 && device) device->handles().remove(fi->fh);
}

// libfuse doesn't pass on the flags of a READDIR, so those of the OPENDIR are used.
Atime atime_of(const Device& device, const fuse_file_info* fi) {
  return device.claims().is_noatime(fi->fh) ? Atime::kKeep : Atime::kTouch;
}

void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, fuse_file_info* fi) {
  FuseContext& context = context_of(req);
  if (ino == FUSE_ROOT_ID) return readdir_root(req, context, size, offset, false);
  const auto admitted = admit_fsdax(req, ino, "READDIR");
  if (!admitted) return reply_error(req, admitted.err());
  DirectoryBuffer buffer(req, size);
  const auto result = admitted->fs().readdir(
      ino, static_cast<uint64_t>(offset), [&](const DirEntry& entry) { return buffer.add(entry); },
      atime_of(*admitted->device, fi));
  if (!result) return reply_error(req, result.err());
  (void)buffer.reply();
}

// Each entry but the dots counts a lookup, if the kernel takes the reply. All are counted before
// the reply leaves, so that any FORGET comes after.
void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, fuse_file_info* fi) {
  FuseContext& context = context_of(req);
  if (ino == FUSE_ROOT_ID) return readdir_root(req, context, size, offset, true);
  const auto admitted = admit_fsdax(req, ino, "READDIRPLUS");
  if (!admitted) return reply_error(req, admitted.err());
  DirectoryBuffer buffer(req, size);
  std::vector<uint64_t> told;
  const auto add = [&](const DirEntry& entry, const Attr& attr) {
    if (!buffer.add_plus(entry, FileSystemContent::with_dirtied(admitted->request, attr)))
      return false;
    if (attr.ino != 0) told.push_back(attr.ino);
    return true;
  };
  const auto result = admitted->fs().readdirplus(ino, static_cast<uint64_t>(offset), add,
                                                 atime_of(*admitted->device, fi));
  if (!result) return reply_error(req, result.err());
  const MustAllocate counted;
  for (const uint64_t child : told) admitted->device->lookups().count(child);
  if (buffer.reply() == 0) return;
  for (const uint64_t child : told) admitted->device->lookups().forget(child, 1);
}

void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, fuse_file_info* /*fi*/) {
  if (ino == FUSE_ROOT_ID) return reply_error(req, 0);
  const auto admitted = admit_fsdax(req, ino, "FSYNCDIR");
  if (!admitted) return reply_error(req, admitted.err());
  reply(req, admitted->fs().fsync(ino, datasync != 0));
}

void op_forget_multi(fuse_req_t req, size_t count, fuse_forget_data* forgets) {
  FuseContext& context = context_of(req);
  if (count > 1) about_to_block();  // there may be tens of thousands
  bool destroyed = false;
  for (size_t i = 0; i < count; ++i) {
    const DevicePtr device = context.devices.by_ino(forgets[i].ino);
    if (!device) continue;  // the root
    device->lookups().forget(forgets[i].ino, forgets[i].nlookup);
    destroyed = destroyed || device->lookups().counts().size() == 0;
  }
  if (destroyed) context.devices.forget_destroyed();
  answer(fuse_reply_none, req);
}

void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count) {
  fuse_forget_data forget = {.ino = ino, .nlookup = count};
  op_forget_multi(req, 1, &forget);
}

}  // namespace

void add_name_operations(fuse_lowlevel_ops& ops) {
  ops.lookup = Operation<op_lookup>::serve;
  ops.forget = Unrefused<op_forget>::serve;
  ops.forget_multi = Unrefused<op_forget_multi>::serve;
  ops.mknod = Operation<op_mknod>::serve;
  ops.mkdir = Operation<op_mkdir>::serve;
  ops.symlink = Operation<op_symlink>::serve;
  ops.readlink = Operation<op_readlink>::serve;
  ops.link = Operation<op_link>::serve;
  ops.unlink = Operation<op_unlink>::serve;
  ops.rmdir = Operation<op_rmdir>::serve;
  ops.rename = Operation<op_rename>::serve;
  ops.opendir = Operation<op_opendir>::serve;
  ops.readdir = Operation<op_readdir>::serve;
  ops.readdirplus = Operation<op_readdirplus>::serve;
  ops.releasedir = Unrefused<release_handle>::serve;
  ops.fsyncdir = Operation<op_fsyncdir>::serve;
}

}  // namespace pmemd
