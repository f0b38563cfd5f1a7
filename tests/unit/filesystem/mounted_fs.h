// A file system of a test's own: a sparse image, the tables, and what a daemon would do around it.
//
// Each call gets a read section of its own, as a request has one. Thread contract: FileSystem's;
// crash() and remount() want nothing in flight.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/units.h"
#include "core/filesystem/filesystem.h"
#include "core/media/namespace_media.h"
#include "core/pool/pool.h"
#include "core/pool/schema.h"
#include "core/pool/upgrade.h"
#include "tests/unit/must.h"
#include "tests/unit/temporary_directory.h"

namespace pmemd {

class MountedFs {
 public:
  static constexpr uint64_t kDataOffset = 2 * kMiB;

  // Without a pool: quick to make.
  explicit MountedFs(uint64_t data_size = 64 * kMiB) {
    own_db_ = must(Database::open(directory_.path() + "/pool.db", Database::Mode::kCreate));
    db_ = own_db_.get();
    {
      MutexLock lock(db_->mutex());
      must(make_tables(*db_));
      must(db_->execute(
          "INSERT INTO namespaces (serial, region, id, uuid, mode, start, size, align, live, clean,"
          " next_index) VALUES (7, 0, 0, '', 'fsdax', 0, 0, 0, 1, 1, 1)"));
    }
    record_.serial = 7;
    record_.range = {0, kDataOffset + data_size};
    const ImageFile file = must(ImageFile::create(directory_.path() + "/image",
                                                  kDataOffset + data_size, Reservation::kSparse));
    own_errors_ = must(MediaErrors::load(*db_, 0));
    format(must(file.map(record_.range)), *own_errors_);
  }
  // In the first namespace of a pool, for what needs one.
  explicit MountedFs(Pool& pool) : db_(&pool.database()), record_(pool.namespaces().front()) {
    format(must(pool.map_namespace(record_)), *pool.media_errors(record_.region));
  }
  ~MountedFs() {
    if (fs_) (void)fs_->flush_times();
  }

  // `fs->call(…)` is one request: its read section ends with the statement.
  class Request {
   public:
    FileSystem* operator->() const { return fs_; }

   private:
    friend class MountedFs;
    Request(Srcu::ReadSection section, FileSystem* fs) : section_(std::move(section)), fs_(fs) {}
    Srcu::ReadSection section_;
    FileSystem* fs_;
  };
  Request operator->() { return {srcu_.read_lock(), fs_.get()}; }
  Srcu& srcu() { return srcu_; }
  Database& db() { return *db_; }
  MappedImage& image() { return media_->image(); }
  NamespaceMedia& media() { return *media_; }
  MediaErrors& errors() { return *errors_; }
  RegionRange in_region(DataRange range) const { return record_.in_region(range); }
  LookupCounts& lookups() { return lookups_; }
  std::string image_path() const { return directory_.path() + "/image"; }  // without a pool
  uint64_t root() const { return make_inode_number(record_.serial, kRootIndex); }

  // What the tests' clock says; it stands still.
  void set_time(int64_t seconds, int64_t nanoseconds = 0) {
    now_ns_ = seconds * kSecond + nanoseconds;
  }
  void advance_ns(int64_t nanoseconds) { now_ns_ += nanoseconds; }

  // From the next mount on.
  void set_cached_inodes_max(size_t count) { cached_inodes_max_ = count; }

  void remount() {
    must(fs_->flush_times());
    fs_.reset();
    mount(true);
  }
  // As after SIGKILL: times that were kept in memory are lost.
  void crash() {
    fs_.reset();
    mount(false);
  }
  Result<void> try_mount(bool clean) {
    fs_.reset();
    FileSystem::Options options;
    options.serial = record_.serial;
    options.clean = clean;
    if (cached_inodes_max_) options.cached_inodes_max = *cached_inodes_max_;
    options.space_timeout = std::chrono::seconds(20);
    options.clock = [this] { return timespec{now_ns_ / kSecond, now_ns_ % kSecond}; };
    PMEMD_ASSIGN(fs_, FileSystem::mount(*db_, *media_, srcu_, lookups_, options));
    return {};
  }

  std::string read(uint64_t ino, uint64_t offset, uint64_t length) {
    const auto section = srcu_.read_lock();
    std::string bytes;
    for (const iovec& part : must(fs_->read(ino, FileRange::sized(offset, length)))) {
      bytes.append(static_cast<const char*>(part.iov_base), part.iov_len);
    }
    return bytes;
  }
  Result<void> write(uint64_t ino, uint64_t offset, std::string_view bytes) {
    return (*this)->write(ino, offset, std::as_bytes(std::span(bytes)));
  }
  uint64_t make(std::string_view name, uint64_t parent = 0, mode_t mode = S_IFREG | 0644) {
    return must((*this)->mknod(parent == 0 ? root() : parent, name, mode, 0, {})).ino;
  }
  uint64_t make_dir(std::string_view name, uint64_t parent = 0) {
    return must((*this)->mkdir(parent == 0 ? root() : parent, name, 0755, {})).ino;
  }
  Attr attr(uint64_t ino) { return must((*this)->getattr(ino)); }
  Result<Attr> truncate(uint64_t ino, uint64_t size) {
    SetAttr change;
    change.size = size;
    return (*this)->setattr(ino, change);
  }
  std::vector<std::string> names(uint64_t dir) {
    std::vector<std::string> found;
    must((*this)->readdir(dir, 0, [&](const DirEntry& entry) {
      found.push_back(entry.name);
      return true;
    }));
    return found;
  }
  uint64_t free_bytes() {
    const auto stat = must((*this)->statfs());
    return stat.f_bfree * stat.f_frsize;
  }

 private:
  static constexpr int64_t kSecond = 1'000'000'000;

  void format(std::unique_ptr<MappedImage> image, MediaErrors& errors) {
    errors_ = &errors;
    media_ = std::make_unique<NamespaceMedia>(std::move(image), errors, record_);
    {
      MutexLock lock(db_->mutex());  // durability isn't what these tests are about
      must(db_->execute("PRAGMA synchronous = OFF"));
    }
    must(FileSystem::format(*db_, record_.serial, 0, {0, 0, 0}));
    mount(true);
  }
  void mount(bool clean) { must(try_mount(clean)); }

  TemporaryDirectory directory_;
  std::optional<size_t> cached_inodes_max_;
  std::atomic<int64_t> now_ns_ = 1'000'000 * kSecond;
  Srcu srcu_;
  LookupCounts lookups_;
  std::unique_ptr<Database> own_db_;
  Database* db_ = nullptr;
  NamespaceRecord record_;
  std::unique_ptr<MediaErrors> own_errors_;  // without a pool
  MediaErrors* errors_ = nullptr;
  std::unique_ptr<NamespaceMedia> media_;
  std::unique_ptr<FileSystem> fs_;
};

}  // namespace pmemd
