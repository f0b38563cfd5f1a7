#include "daemon/kernel/kernel_notifier.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fuse3/fuse_lowlevel.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <new>
#include <utility>

#include "core/base/unique_fd.h"
#include "core/pool/schema.h"
#include "core/removal/kernel_holders.h"
#include "core/removal/report.h"

namespace pmemd {
namespace {

constexpr std::chrono::seconds kCallTimeout{60};

}  // namespace

KernelNotifier::KernelNotifier(fuse_session* session, std::string mount_point, dev_t device_number)
    : session_(session), mount_point_(std::move(mount_point)), device_number_(device_number) {}

Result<void> KernelNotifier::call(std::function<Result<void>()> work) {
  auto done = worker_.call(std::move(work), kCallTimeout);
  if (done.err() == ETIMEDOUT) return fail(ETIMEDOUT, "the kernel did not answer a notification");
  return done;
}

Result<void> KernelNotifier::flush(uint64_t ino, FileRange range) {
  return call([this, ino, range] { return flush_in_thread(ino, range); });
}

Result<void> KernelNotifier::inval(uint64_t ino, FileRange range) {
  return call([this, ino, range]() -> Result<void> {
    // Length 0 means to the end.
    const auto length = range == kWholeFile ? 0 : static_cast<off_t>(range.length());
    const int result =
        fuse_lowlevel_notify_inval_inode(session_, ino, static_cast<off_t>(range.begin), length);
    if (result != 0) return fail(-result, fmt::format("inval of inode {}", ino));
    return {};
  });
}

void KernelNotifier::hide(const Device& device) {
  const std::string name = device.record().device_name();
  // ENOENT: the kernel has no such name cached, so there is nothing to do.
  (void)call([this, name]() -> Result<void> {
    fuse_lowlevel_notify_inval_entry(session_, FUSE_ROOT_ID, name.c_str(), name.size());
    fuse_lowlevel_notify_inval_inode(session_, FUSE_ROOT_ID, -1, 0);  // its attributes
    return {};
  });
}

// The kernel doesn't cache that a name is missing (lookups in the root are answered without a
// negative entry), so the same notification shows it.
void KernelNotifier::show(const Device& device) { hide(device); }

std::vector<Holder> KernelNotifier::holders(const std::vector<const Device*>& devices) const {
  // A mapping keeps its file open: RELEASE comes after the last munmap.
  const auto is_open = [](const Device* device) { return device->claims().handle_count() != 0; };
  if (std::ranges::none_of(devices, is_open)) return {};
  const auto handles = open_handles(devices);
  auto found = find_holders(device_number_, mount_point_, [&](uint64_t ino) {
    for (const Device* device : devices) {
      if (inode_serial(ino) == device->record().serial) return true;
    }
    return false;
  });
  add_kernel_holders(found, handles, devices, device_number_);
  name_files(found, devices);
  MutexLock lock(mutex_);
  paths_.clear();
  for (const Holder& holder : found) {
    for (const Mapping& mapping : holder.mappings) paths_[mapping.ino] = mapping.path;
  }
  return found;
}

Result<void> KernelNotifier::flush_in_thread(uint64_t ino, FileRange range) {
  const UniqueFd fd = open_inode(ino);
  // Its owner has a lease: an open would wait until it is broken.
  if (!fd && errno == EWOULDBLOCK) return flush_mount();
  if (!fd) return fail_errno(fmt::format("open of inode {}", ino));
  const off_t length = range == kWholeFile ? 0 : static_cast<off_t>(range.length());
  if (sync_file_range(
          fd.get(), static_cast<off_t>(range.begin), length,
          SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER) != 0) {
    return fail_errno(fmt::format("flush of inode {}", ino));
  }
  return {};
}

Result<void> KernelNotifier::flush_mount() const {
  const UniqueFd mount(open(mount_point_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!mount || syncfs(mount.get()) != 0) return fail_errno("flush of the mount");
  return {};
}

UniqueFd KernelNotifier::open_inode(uint64_t ino, const std::string& path) {
  const UniqueFd mount(open(mount_point_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  struct statx root = {};
  if (!mount || statx(mount.get(), "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, 0, &root) != 0)
    return {};
  if (makedev(root.stx_dev_major, root.stx_dev_minor) != device_number_) {
    errno = ESTALE;  // another file system is mounted over ours
    return {};
  }
  // fs/fuse/inode.c fuse_encode_fh() @v6.12: FILEID_INO64_GEN, three words: node id, generation.
  constexpr int kFileidIno64Gen = 0x81;
  const std::array<uint32_t, 3> words = {static_cast<uint32_t>(ino >> 32),
                                         static_cast<uint32_t>(ino), 0};
  alignas(file_handle) std::array<std::byte, sizeof(file_handle) + sizeof(words)> bytes{};
  auto* handle = new (bytes.data()) file_handle;
  handle->handle_bytes = sizeof(words);
  handle->handle_type = kFileidIno64Gen;
  std::memcpy(bytes.data() + sizeof(file_handle), words.data(), sizeof(words));
  UniqueFd fd(open_by_handle_at(mount.get(), handle, O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (fd || errno != EPERM) return fd;

  std::string known = path;
  if (known.empty()) {
    MutexLock lock(mutex_);
    const auto it = paths_.find(ino);
    if (it != paths_.end()) known = it->second;
  }
  if (known.empty()) {
    errno = EPERM;
    return {};
  }
  fd.reset(open((mount_point_ + known).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct statx st = {};
  if (fd && (statx(fd.get(), "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO, &st) != 0 ||
             st.stx_ino != ino)) {
    errno = ESTALE;  // renamed since
    return {};
  }
  return fd;
}

}  // namespace pmemd
