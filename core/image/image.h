// The bytes of a region: its image file, and the parts of it that are mapped.
//
// Only this module touches an image's bytes. It maps them through libpmem2 and writes them with its
// memcpy/memset/persist functions, so that a pool on a real DAX device works at the device's own
// granularity.
//
// Invariants:
//  1. Freed space reads as zeros: discard() is the only way to free, and it zeroes.
//  2. The daemon never dies of SIGBUS on its own image (host disk full under a sparse image, image
//     truncated behind our back, media error): every access to mapped bytes is guarded, and a fault
//     becomes EIO (core/image/sigbus_guard.h). Pointers leave this module only as iovecs for a
//     system call (which then returns EFAULT).
//  3. A mapping with a mark writes nothing if the mark isn't there: set_mark().
//
// Thread contract: ImageFile and MappedImage are constant after construction; all functions from
// any thread. A caller that frees or rewrites a range ensures that nobody else uses it.
#pragma once

#include <sys/uio.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/base/unique_fd.h"
#include "core/range/range.h"

struct pmem2_map;

namespace pmemd {

enum class Reservation {
  kReserved,  // host blocks are allocated when the image is made, and stay allocated
  kSparse,    // host blocks are allocated with the extents that need them, and given back
};

class MappedImage;

class ImageFile {
 public:
  // Creates `path` with `size` bytes, all zero (and for kReserved allocated), for its owner only;
  // removes it again on failure. Its bytes and size are durable; the caller makes its directory
  // entry durable. EEXIST: it exists. ENOSPC: the host disk is full. EFBIG: too large for it.
  // EOPNOTSUPP: the host's file system can't reserve.
  static Result<ImageFile> create(const std::string& path, uint64_t size, Reservation reservation);

  // ENOENT: no image. EIO: not a regular file, or shorter than `size` (the message has both sizes).
  // EACCES. EPERM: somebody else could change the file. ELOOP: a link.
  static Result<ImageFile> open(const std::string& path, uint64_t size, Reservation reservation);

  // Maps `range` (2 MiB-aligned). The mapping itself keeps the file open. EIO: the image has become
  // shorter. ENOMEM: the process has no room for it.
  Result<std::unique_ptr<MappedImage>> map(RegionRange range) const;

  const std::string& path() const { return path_; }
  uint64_t size_bytes() const { return size_bytes_; }

 private:
  ImageFile(UniqueFd fd, std::string path, uint64_t size_bytes, Reservation reservation);

  UniqueFd fd_;
  std::string path_;
  uint64_t size_bytes_;
  Reservation reservation_;
};

// Offsets are bytes from the start of the mapped range (for a namespace: from its metadata's first
// byte); a range outside of it is a bug of the caller (asserted).
class MappedImage {
 public:
  ~MappedImage();  // unmaps; persists nothing
  MappedImage(const MappedImage&) = delete;
  MappedImage& operator=(const MappedImage&) = delete;

  uint64_t size_bytes() const { return size_bytes_; }

  // Sets the bytes that identify the mapping (a namespace's info block). They are checked again
  // before the first change, whatever it is: if they aren't there, that change and each later one
  // is EIO, and nothing is written. Must be called before others use the mapping.
  void set_mark(uint64_t offset, std::vector<std::byte> bytes);

  // None of these is durable before persist(). EIO: the host can't read or write the bytes. After a
  // failed write() the range's content is unspecified.
  Result<void> read(uint64_t offset, std::span<std::byte> to) const;
  Result<void> write(uint64_t offset, std::span<const std::byte> from);
  Result<void> zero(uint64_t offset, uint64_t length);
  // The same; its cost grows with what the host has allocated of the range, not with its length.
  // Keeps its blocks, and may allocate some in the last 64 KiB.
  Result<void> zero_written(uint64_t offset, uint64_t length);

  // For a system call to read from; never dereferenced by the process itself.
  iovec view(uint64_t offset, uint64_t length) const;

  // Returns when everything written to the range is durable on the host. EIO.
  Result<void> persist(uint64_t offset, uint64_t length);
  // The same for several parts, each an offset and a length, in order. A host that writes back
  // pages is asked once, so it waits for its disk once; it also writes what is dirty between the
  // parts.
  Result<void> persist(std::span<const std::pair<uint64_t, uint64_t>> parts);
  // How many threads of the process are in persist(), on any image: they wait for the host's disk.
  static unsigned threads_persisting();

  // Ensures, before an extent is used, that the host has blocks for it. ENOSPC, EIO.
  // (Page-aligned.) Costs no more than a branch on a reserved image.
  Result<void> allocate(uint64_t offset, uint64_t length);

  // Zeroes the range, and gives its blocks back to the host if the image is sparse. EIO, ENOSPC.
  // (Page-aligned.) The cost grows with what is allocated, not with the length; on a host that
  // can't punch or zero a range (tmpfs, for a reserved image) it stores zeros. persist() makes it
  // durable.
  Result<void> discard(uint64_t offset, uint64_t length);

  // Whether the range reads as zeros. Reads only what the host has allocated and written. EIO.
  Result<bool> is_zero(uint64_t offset, uint64_t length) const;

 private:
  friend class ImageFile;
  MappedImage(UniqueFd fd, pmem2_map* map, RegionRange range, Reservation reservation);

  Result<std::pair<uint64_t, uint64_t>> next_written(uint64_t offset, uint64_t end) const;
  // EIO: the mark isn't there. Costs a branch once it has been seen.
  Result<void> check_mark();
  // The address of a range's first byte; asserts that all of it is mapped.
  std::byte* at(uint64_t offset, uint64_t length) const;

  UniqueFd fd_;
  pmem2_map* map_;
  std::byte* base_;
  void* (*memcpy_)(void* to, const void* from, size_t size, unsigned flags);
  void* (*memset_)(void* to, int byte, size_t size, unsigned flags);
  void (*persist_)(const void* begin, size_t size);
  bool is_page_cache_;  // else a DAX device
  uint64_t file_offset_;
  uint64_t size_bytes_;
  Reservation reservation_;
  uint64_t mark_offset_ = 0;
  std::vector<std::byte> mark_;
  std::atomic<bool> mark_seen_ = true;  // or there is none
};

}  // namespace pmemd
