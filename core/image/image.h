// The bytes of a region: its image file, and the parts of it that are mapped.
//
// This module is the only code that touches an image's bytes. They are mapped through libpmem2 and
// written by its memcpy/memset/persist functions, so that a real DAX device as pool works at its
// own granularity.
//
// Invariants:
//  1. Freed space reads as zeros: discard() is the only way to free, and it zeroes.
//  2. The daemon never dies of SIGBUS on its own image (host disk full under a sparse image, image
//     truncated behind our back, media error): every access to mapped bytes is guarded and becomes
//     EIO (core/image/sigbus_guard.h). Pointers leave this module only as iovecs for a system call
//     (where it is EFAULT).
//  3. A mapping that knows its mark writes nothing where that isn't: set_mark().
//
// Thread contract: ImageFile and MappedImage are constant after construction; all functions from
// any thread. Who frees or rewrites a range sees to it that nobody else uses it.
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
  kSparse,    // host blocks are allocated with the extents that want them, and given back
};

class MappedImage;

class ImageFile {
 public:
  // Makes `path` with `size` bytes, all zero (and for kReserved allocates them), for its
  // owner only. Removes it again
  // on failure. Its bytes and size are durable, its directory entry is the caller's. EEXIST: it is
  // there. ENOSPC: the host disk is full. EFBIG: too large for it. EOPNOTSUPP: the host's file
  // system can't reserve.
  static Result<ImageFile> create(const std::string& path, uint64_t size, Reservation reservation);

  // ENOENT: no image. EIO: no regular file, or shorter than `size` (the message tells both sizes).
  // EACCES. EPERM: somebody else could change the file. ELOOP: a link.
  static Result<ImageFile> open(const std::string& path, uint64_t size, Reservation reservation);

  // Maps `range` (2 MiB-aligned). The mapping keeps the file open on its own. EIO: the image has
  // become shorter. ENOMEM: the process has no room for it.
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

// Offsets are bytes from the begin of the mapped range (for a namespace: from its metadata's
// first byte); ranges outside of it are a bug of the caller (asserted).
class MappedImage {
 public:
  ~MappedImage();  // unmaps; persists nothing
  MappedImage(const MappedImage&) = delete;
  MappedImage& operator=(const MappedImage&) = delete;

  uint64_t size_bytes() const { return size_bytes_; }

  // What tells that the mapped bytes are the ones that they are taken for (a namespace's info
  // block). It is looked for again before the first change, whatever changes: if it isn't there,
  // that and each later change is EIO, and nothing is written. Before others use the mapping.
  void set_mark(uint64_t offset, std::vector<std::byte> bytes);

  // Nothing of these is durable before persist(). EIO: the host can't give or take the bytes. After
  // a failed write() the range's content is unspecified.
  Result<void> read(uint64_t offset, std::span<std::byte> to) const;
  Result<void> write(uint64_t offset, std::span<const std::byte> from);
  Result<void> zero(uint64_t offset, uint64_t length);
  // The same, at a cost that grows with what the host has of the range, not with its length; keeps
  // its blocks, and may take some in the last 64 KiB.
  Result<void> zero_written(uint64_t offset, uint64_t length);

  // For a system call to read from; never dereferenced by the process itself.
  iovec view(uint64_t offset, uint64_t length) const;

  // Returns when what was written to the range is durable on the host. EIO.
  Result<void> persist(uint64_t offset, uint64_t length);
  // The same of several parts, each an offset and a length, in order. Where the host writes back
  // pages it is asked once, and writes what is dirty between the parts as well: it waits for its
  // disk once.
  Result<void> persist(std::span<const std::pair<uint64_t, uint64_t>> parts);

  // Before an extent is used: sees to it that the host has blocks for it. ENOSPC, EIO.
  // (Page-aligned.) Costs no more than a branch on a reserved image.
  Result<void> allocate(uint64_t offset, uint64_t length);

  // Zeroes the range, and gives its blocks back to the host if the image is sparse. EIO, ENOSPC.
  // (Page-aligned.) Cost grows with what is allocated, not with the length; on a host that can't
  // punch or zero a range (tmpfs, for a reserved image) zeros are stored. Durable by persist().
  Result<void> discard(uint64_t offset, uint64_t length);

  // Whether the range reads as zeros. Reads only what the host has allocated and written. EIO.
  Result<bool> is_zero(uint64_t offset, uint64_t length) const;

 private:
  friend class ImageFile;
  MappedImage(UniqueFd fd, pmem2_map* map, RegionRange range, Reservation reservation);

  Result<std::pair<uint64_t, uint64_t>> next_written(uint64_t offset, uint64_t end) const;
  // EIO: the mark isn't there. Costs a branch once it was seen.
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
