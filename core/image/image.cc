#include "core/image/image.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <libpmem2.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <utility>
#include <vector>

#include "core/base/blocking.h"
#include "core/base/safe_path.h"
#include "core/base/units.h"
#include "core/image/sigbus_guard.h"

namespace pmemd {
namespace {

// Ranges this short aren't searched for holes after written bytes: ext4 walks all extents up to it.
constexpr uint64_t kTooShortForHoles = 64 * kKiB;
constexpr uint64_t kReadChunk = 256 * kKiB;

// persist() makes the stores of a write durable together: without NOFLUSH libpmem2 calls msync
// after each of them on a page cache.
constexpr unsigned kNoFlush = PMEM2_F_MEM_NOFLUSH;

int retry_fallocate(int fd, int mode, uint64_t offset, uint64_t length) {
  int result;
  do {
    result = ::fallocate(fd, mode, static_cast<off_t>(offset), static_cast<off_t>(length));
  } while (result != 0 && errno == EINTR);
  return result;
}

std::unexpected<Error> pmem2_fail(const std::string& path, int code) {
  // Codes of libpmem2's own begin at PMEM2_E_UNKNOWN.
  const int err = code > PMEM2_E_UNKNOWN ? -code : EINVAL;
  return fail(err, path + ": cannot be mapped: " + pmem2_errormsg());
}

// EIO: the image is shorter than `size`.
Result<void> check_length(int fd, const std::string& path, uint64_t size) {
  struct stat status = {};
  if (::fstat(fd, &status) != 0) return fail_errno(path);
  if (!S_ISREG(status.st_mode)) return fail(EIO, path + ": not a regular file");
  if (static_cast<uint64_t>(status.st_size) >= size) return {};
  return fail(EIO,
              fmt::format("{}: is {} bytes long, not {} as recorded", path, status.st_size, size),
              "restore it from a backup");
}

struct Mapping {
  void* address;
  pmem2_granularity granularity;
};

// Maps at an address that the kernel chooses. Not by pmem2_map_new(): it reserves an address and
// maps over it with MAP_FIXED, first with MAP_SYNC. On a file system without DAX that fails when
// the kernel has already dropped the reservation; the next attempt then maps over whatever another
// thread has mapped there meanwhile.
Result<Mapping> map_somewhere(int fd, const std::string& path, RegionRange range) {
  constexpr int kProtection = PROT_READ | PROT_WRITE;
  const auto offset = static_cast<off_t>(range.begin);
  void* address =
      ::mmap(nullptr, range.length(), kProtection, MAP_SHARED_VALIDATE | MAP_SYNC, fd, offset);
  // With MAP_SYNC a store is durable when its line is flushed. (A platform with durable caches
  // doesn't even need that; the flush does no harm there.)
  if (address != MAP_FAILED) return Mapping{address, PMEM2_GRANULARITY_CACHE_LINE};
  address = ::mmap(nullptr, range.length(), kProtection, MAP_SHARED, fd, offset);
  if (address != MAP_FAILED) return Mapping{address, PMEM2_GRANULARITY_PAGE};
  return fail_errno(fmt::format("{}: {} can't be mapped", path, format_size(range.length())),
                    "raise the limit of the process's address space (ulimit -v), or make the "
                    "namespace smaller");
}

// Sizes and allocates a new image.
Result<void> fill(int fd, const std::string& path, uint64_t size, Reservation reservation) {
  if (::ftruncate(fd, static_cast<off_t>(size)) != 0) {
    return fail_errno(fmt::format("{}: {}", path, format_size(size)));
  }
  if (reservation == Reservation::kReserved && retry_fallocate(fd, 0, 0, size) != 0) {
    return fail_errno(fmt::format("{}: {} can't be reserved", path, format_size(size)),
                      "make it smaller, or sparse");
  }
  if (::fsync(fd) != 0) return fail_errno(path);
  return {};
}

}  // namespace

// --- ImageFile

ImageFile::ImageFile(UniqueFd fd, std::string path, uint64_t size_bytes, Reservation reservation)
    : fd_(std::move(fd)),
      path_(std::move(path)),
      size_bytes_(size_bytes),
      reservation_(reservation) {}

Result<ImageFile> ImageFile::create(const std::string& path, uint64_t size,
                                    Reservation reservation) {
  UniqueFd fd(::open(path.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600));
  if (!fd) return fail_errno(path);
  if (auto filled = fill(fd.get(), path, size, reservation); !filled) {
    ::unlink(path.c_str());
    return std::unexpected(std::move(filled).error());
  }
  return ImageFile(std::move(fd), path, size, reservation);
}

Result<ImageFile> ImageFile::open(const std::string& path, uint64_t size, Reservation reservation) {
  PMEMD_ASSIGN(UniqueFd fd, open_safe_file(AT_FDCWD, path, path, O_RDWR));
  PMEMD_TRY(check_length(fd.get(), path, size));
  return ImageFile(std::move(fd), path, size, reservation);
}

Result<std::unique_ptr<MappedImage>> ImageFile::map(RegionRange range) const {
  assert(!range.empty() && range.end <= size_bytes_);
  assert(is_aligned(range.begin, kSubsectionSize) && is_aligned(range.end, kSubsectionSize));
  UniqueFd fd(::fcntl(fd_.get(), F_DUPFD_CLOEXEC, 0));
  if (!fd) return fail_errno(path_);
  PMEMD_TRY(check_length(fd.get(), path_, size_bytes_));

  PMEMD_ASSIGN(const Mapping mapping, map_somewhere(fd.get(), path_, range));
  pmem2_source* source = nullptr;
  pmem2_map* map = nullptr;
  int code = pmem2_source_from_fd(&source, fd.get());
  if (code == 0) {
    // libpmem2 1.12 doesn't free all of it: 144 bytes (findings/pmem2-map-from-existing-leaks.sh).
    code =
        pmem2_map_from_existing(&map, source, mapping.address, range.length(), mapping.granularity);
  }
  auto failure = code == 0 ? std::unexpected<Error>(Error{}) : pmem2_fail(path_, code);
  pmem2_source_delete(&source);
  if (code != 0) {
    ::munmap(mapping.address, range.length());
    return failure;
  }
  return std::unique_ptr<MappedImage>(new MappedImage(std::move(fd), map, range, reservation_));
}

// --- MappedImage

MappedImage::MappedImage(UniqueFd fd, pmem2_map* map, RegionRange range, Reservation reservation)
    : fd_(std::move(fd)),
      map_(map),
      base_(static_cast<std::byte*>(pmem2_map_get_address(map))),
      memcpy_(pmem2_get_memcpy_fn(map)),
      memset_(pmem2_get_memset_fn(map)),
      persist_(pmem2_get_persist_fn(map)),
      is_page_cache_(pmem2_map_get_store_granularity(map) == PMEM2_GRANULARITY_PAGE),
      file_offset_(range.begin),
      size_bytes_(range.length()),
      reservation_(reservation) {}

MappedImage::~MappedImage() {
  pmem2_map_delete(&map_);  // first: libpmem2 must forget the address before it becomes free
  ::munmap(base_, size_bytes_);
}

namespace {

std::atomic<unsigned> persisting = 0;

struct Persisting {
  Persisting() { persisting.fetch_add(1, std::memory_order_relaxed); }
  ~Persisting() { persisting.fetch_sub(1, std::memory_order_relaxed); }
  Persisting(const Persisting&) = delete;
  Persisting& operator=(const Persisting&) = delete;
};

}  // namespace

unsigned MappedImage::threads_persisting() { return persisting.load(std::memory_order_relaxed); }

std::byte* MappedImage::at(uint64_t offset, uint64_t length) const {
  assert(offset <= size_bytes_ && length <= size_bytes_ - offset);
  about_to_block();  // the host may have to fetch or allocate these pages
  return base_ + offset;
}

void MappedImage::set_mark(uint64_t offset, std::vector<std::byte> bytes) {
  mark_offset_ = offset;
  mark_ = std::move(bytes);
  mark_seen_.store(false, std::memory_order_relaxed);
}

// Two threads may both check: each sees the same.
Result<void> MappedImage::check_mark() {
  if (mark_seen_.load(std::memory_order_relaxed)) return {};
  std::vector<std::byte> now(mark_.size());
  PMEMD_TRY(read(mark_offset_, now));
  if (now != mark_) {
    return fail(
        EIO, "the info block has changed since it was mapped; nothing is written",
        "stop the daemon, find out what else writes to the image, restore it from a backup");
  }
  mark_seen_.store(true, std::memory_order_relaxed);
  return {};
}

Result<void> MappedImage::read(uint64_t offset, std::span<std::byte> to) const {
  const std::byte* const from = at(offset, to.size());
  if (to.empty()) return {};
  if (!guarded(from, to.size(), [&] { std::memcpy(to.data(), from, to.size()); })) {
    return fail(EIO);
  }
  return {};
}

Result<void> MappedImage::write(uint64_t offset, std::span<const std::byte> from) {
  std::byte* const to = at(offset, from.size());
  if (from.empty()) return {};
  PMEMD_TRY(check_mark());
  if (!guarded(to, from.size(), [&] { memcpy_(to, from.data(), from.size(), kNoFlush); })) {
    return fail(EIO);
  }
  return {};
}

Result<void> MappedImage::zero(uint64_t offset, uint64_t length) {
  std::byte* const to = at(offset, length);
  if (length == 0) return {};
  PMEMD_TRY(check_mark());
  if (!guarded(to, length, [&] { memset_(to, 0, length, kNoFlush); })) return fail(EIO);
  return {};
}

iovec MappedImage::view(uint64_t offset, uint64_t length) const {
  return {at(offset, length), length};
}

// On a page cache we call msync ourselves: libpmem2's persist does too, but aborts the process when
// it fails, because it returns nothing.
Result<void> MappedImage::persist(uint64_t offset, uint64_t length) {
  std::byte* const begin = at(offset, length);
  if (length == 0) return {};
  const Persisting until_it_returns;
  if (is_page_cache_) {
    const uint64_t before = offset % kPageSize;  // the mapping itself is page-aligned
    if (::msync(begin - before, length + before, MS_SYNC) != 0) return fail(EIO);
    return {};
  }
  if (!guarded(begin, length, [&] { persist_(begin, length); })) return fail(EIO);
  return {};
}

Result<void> MappedImage::persist(std::span<const std::pair<uint64_t, uint64_t>> parts) {
  if (parts.empty()) return {};
  const auto& [first, first_length] = parts.front();
  const auto& [last, last_length] = parts.back();
  if (is_page_cache_) return persist(first, last + last_length - first);
  for (const auto& [offset, length] : parts) PMEMD_TRY(persist(offset, length));
  return {};
}

Result<void> MappedImage::allocate(uint64_t offset, uint64_t length) {
  if (reservation_ == Reservation::kReserved) return {};
  assert(is_aligned(offset, kPageSize) && is_aligned(length, kPageSize));
  at(offset, length);
  if (length == 0) return {};
  const int result = retry_fallocate(fd_.get(), FALLOC_FL_KEEP_SIZE, file_offset_ + offset, length);
  // A host that can't allocate ahead allocates at the stores; if that fails, they are EIO.
  if (result != 0 && errno != EOPNOTSUPP) return fail(errno);
  return {};
}

Result<void> MappedImage::discard(uint64_t offset, uint64_t length) {
  assert(is_aligned(offset, kPageSize) && is_aligned(length, kPageSize));
  at(offset, length);
  if (length == 0) return {};
  PMEMD_TRY(check_mark());
  const int mode =
      reservation_ == Reservation::kSparse ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE;
  const int result =
      retry_fallocate(fd_.get(), mode | FALLOC_FL_KEEP_SIZE, file_offset_ + offset, length);
  if (result == 0) return {};
  if (errno != EOPNOTSUPP) return fail(errno);
  // Stores zeros rather than punching and allocating again: nobody else can take the blocks in
  // between.
  return zero(offset, length);
}

// The first part of [offset, end) that the host has allocated and written; empty if there is none.
Result<std::pair<uint64_t, uint64_t>> MappedImage::next_written(uint64_t offset,
                                                                uint64_t end) const {
  // The file's position is shared with other threads; nothing here reads it.
  const off_t data = ::lseek(fd_.get(), static_cast<off_t>(file_offset_ + offset), SEEK_DATA);
  if (data < 0 && errno == ENXIO) return std::pair(end, end);  // only a hole from here on
  if (data < 0) return fail(errno);
  const uint64_t begin =
      std::min(std::max(offset, static_cast<uint64_t>(data) - file_offset_), end);
  if (end - begin <= kTooShortForHoles) return std::pair(begin, end);
  const off_t hole = ::lseek(fd_.get(), data, SEEK_HOLE);
  if (hole < 0) return fail(errno);
  return std::pair(begin, std::min(static_cast<uint64_t>(hole) - file_offset_, end));
}

Result<void> MappedImage::zero_written(uint64_t offset, uint64_t length) {
  at(offset, length);
  const uint64_t end = offset + length;
  while (offset < end) {
    PMEMD_ASSIGN(const auto written, next_written(offset, end));
    PMEMD_TRY(zero(written.first, written.second - written.first));
    offset = written.second;
  }
  return {};
}

Result<bool> MappedImage::is_zero(uint64_t offset, uint64_t length) const {
  at(offset, length);
  std::vector<std::byte> buffer(std::min(length, kReadChunk));
  const uint64_t end = offset + length;
  while (offset < end) {
    PMEMD_ASSIGN(const auto written, next_written(offset, end));
    offset = written.first;
    while (offset < written.second) {
      const std::span part(buffer.data(), std::min(written.second - offset, kReadChunk));
      PMEMD_TRY(read(offset, part));
      // All zero if the first byte is and each byte equals the one before it.
      if (part[0] != std::byte{0} ||
          std::memcmp(part.data(), part.data() + 1, part.size() - 1) != 0) {
        return false;
      }
      offset += part.size();
    }
  }
  return true;
}

}  // namespace pmemd
