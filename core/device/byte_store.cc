#include "core/device/byte_store.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

namespace pmemd {
namespace {

// The host's ENOSPC (a full tmpfs, a cgroup's limit) means ENOMEM to our users.
std::unexpected<Error> no_memory_or(const char* what) {
  if (errno == ENOSPC) errno = ENOMEM;
  return fail_errno(what);
}

}  // namespace

Result<void> ImageStore::read(uint64_t offset, std::span<std::byte> to) {
  return image_.read(data_offset_ + offset, to);
}
Result<void> ImageStore::write(uint64_t offset, std::span<const std::byte> from) {
  return image_.write(data_offset_ + offset, from);
}
Result<void> ImageStore::allocate(uint64_t offset, uint64_t length) {
  return image_.allocate(data_offset_ + offset, length);
}
Result<void> ImageStore::discard(uint64_t offset, uint64_t length) {
  return image_.discard(data_offset_ + offset, length);
}

Result<std::unique_ptr<SystemMemory>> SystemMemory::create(uint64_t size_bytes) {
  UniqueFd fd(memfd_create("pmemd-private", MFD_CLOEXEC));
  if (!fd || ftruncate(fd.get(), static_cast<off_t>(size_bytes)) != 0) {
    return fail_errno("system memory of a private namespace");
  }
  return std::unique_ptr<SystemMemory>(new SystemMemory(std::move(fd)));
}

Result<void> SystemMemory::read(uint64_t offset, std::span<std::byte> to) {
  while (!to.empty()) {
    const ssize_t done = pread(fd_.get(), to.data(), to.size(), static_cast<off_t>(offset));
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return fail(EIO, "reading system memory");
    to = to.subspan(static_cast<size_t>(done));
    offset += static_cast<uint64_t>(done);
  }
  return {};
}

Result<void> SystemMemory::write(uint64_t offset, std::span<const std::byte> from) {
  while (!from.empty()) {
    const ssize_t done = pwrite(fd_.get(), from.data(), from.size(), static_cast<off_t>(offset));
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return no_memory_or("writing system memory");
    from = from.subspan(static_cast<size_t>(done));
    offset += static_cast<uint64_t>(done);
  }
  return {};
}

Result<void> SystemMemory::allocate(uint64_t offset, uint64_t length) {
  if (fallocate(fd_.get(), FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                static_cast<off_t>(length)) != 0) {
    return no_memory_or("allocating system memory");
  }
  return {};
}

Result<void> SystemMemory::discard(uint64_t offset, uint64_t length) {
  if (fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                static_cast<off_t>(length)) != 0) {
    return fail_errno("freeing system memory");
  }
  return {};
}

Result<uint64_t> SystemMemory::resident_bytes() const {
  struct stat st = {};
  if (fstat(fd_.get(), &st) != 0) return fail_errno("system memory");
  return static_cast<uint64_t>(st.st_blocks) * 512;
}

}  // namespace pmemd
