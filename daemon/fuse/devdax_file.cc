#include "daemon/fuse/devdax_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <ctime>

namespace pmemd {

Attr& DevdaxFiles::attr_of(const Device& device) {
  const auto [it, is_new] = attrs_.try_emplace(device.record().serial);
  Attr& attr = it->second;
  if (is_new) {
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    attr = {.ino = device.root_ino(),
            .mode = S_IFREG | 0600,
            .nlink = 1,
            .uid = geteuid(),
            .gid = getegid(),
            .size = device.record().data_bytes(),
            .blocks = device.record().data_bytes() / 512,
            .atime = now,
            .mtime = now,
            .ctime = now,
            .btime = now};
  }
  return attr;
}

Attr DevdaxFiles::getattr(const Device& device) {
  MutexLock lock(mutex_);
  return attr_of(device);
}

Result<Attr> DevdaxFiles::setattr(const Device& device, const SetAttr& change) {
  MutexLock lock(mutex_);
  Attr& attr = attr_of(device);
  if (change.size && *change.size != attr.size) return fail(EINVAL);
  if (change.mode) attr.mode = S_IFREG | (*change.mode & 07777);
  if (change.uid) attr.uid = *change.uid;
  if (change.gid) attr.gid = *change.gid;
  if (change.atime) attr.atime = *change.atime;
  if (change.mtime) attr.mtime = *change.mtime;
  clock_gettime(CLOCK_REALTIME, &attr.ctime);
  return attr;
}

}  // namespace pmemd
