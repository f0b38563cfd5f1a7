// Bytes behind the pages of a device, or behind the system memory of a file.
//
// Thread contract: any thread. A caller that frees or rewrites a range ensures that nobody else
// uses it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "core/base/error.h"
#include "core/base/unique_fd.h"
#include "core/image/image.h"

namespace pmemd {

// Offsets and lengths are bytes, within the store.
class ByteStore {
 public:
  virtual ~ByteStore() = default;
  // EIO: the bytes can't be read or written. ENOMEM (write): no room for them.
  virtual Result<void> read(uint64_t offset, std::span<std::byte> to) = 0;
  virtual Result<void> write(uint64_t offset, std::span<const std::byte> from) = 0;
  // Before pages are first used: makes sure that there is room for them. ENOSPC, EIO.
  virtual Result<void> allocate(uint64_t offset, uint64_t length) = 0;
  // Zeroes pages, and frees their room if it can. EIO, ENOSPC.
  virtual Result<void> discard(uint64_t offset, uint64_t length) = 0;
};

// The data area of a namespace.
class ImageStore : public ByteStore {
 public:
  // Keeps a reference to `image`. `data_offset`: where its data begins in the image.
  ImageStore(MappedImage& image, uint64_t data_offset) : image_(image), data_offset_(data_offset) {}
  Result<void> read(uint64_t offset, std::span<std::byte> to) override;
  Result<void> write(uint64_t offset, std::span<const std::byte> from) override;
  Result<void> allocate(uint64_t offset, uint64_t length) override;
  Result<void> discard(uint64_t offset, uint64_t length) override;

 private:
  MappedImage& image_;
  const uint64_t data_offset_;
};

// Zeros at first. Memory is allocated as it is written, and freed by a discard. Ends with the
// process.
class SystemMemory : public ByteStore {
 public:
  // EMFILE, ENFILE, ENOMEM.
  static Result<std::unique_ptr<SystemMemory>> create(uint64_t size_bytes);
  Result<void> read(uint64_t offset, std::span<std::byte> to) override;
  Result<void> write(uint64_t offset, std::span<const std::byte> from) override;
  Result<void> allocate(uint64_t offset, uint64_t length) override;
  Result<void> discard(uint64_t offset, uint64_t length) override;
  // Bytes of memory that it uses now. EIO.
  Result<uint64_t> resident_bytes() const;

 private:
  explicit SystemMemory(UniqueFd fd) : fd_(std::move(fd)) {}
  const UniqueFd fd_;  // a memfd
};

}  // namespace pmemd
