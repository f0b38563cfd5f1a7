// Media of a test's own: a sparse image and a table of errors, that can be looked at as a kill of
// the daemon would leave them.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/media/namespace_media.h"
#include "core/pool/upgrade.h"
#include "tests/unit/media/remembering_observer.h"
#include "tests/unit/must.h"
#include "tests/unit/temporary_directory.h"

namespace pmemd {

// What a pool keeps of one namespace, in a directory. Its data area lies at kDataBegin in region 0.
class StoredMedia {
 public:
  static constexpr uint64_t kNamespaceBegin = 2 * kMiB;
  static constexpr uint64_t kDataBegin = kNamespaceBegin + kNamespaceMetadataSize;
  static constexpr uint64_t kDataSize = 2 * kMiB;

  static void create(const std::string& path) {
    must(ImageFile::create(path + "/image", kDataBegin + kDataSize, Reservation::kSparse));
    const auto db = must(Database::open(path + "/pool.db", Database::Mode::kCreate));
    MutexLock lock(db->mutex());
    must(make_tables(*db));
  }

  explicit StoredMedia(const std::string& path)
      : db_(must(Database::open(path + "/pool.db", Database::Mode::kReadWrite))),
        errors_(must(MediaErrors::load(*db_, 0))) {
    record_.range = {kNamespaceBegin, kDataBegin + kDataSize};
    const ImageFile file =
        must(ImageFile::open(path + "/image", kDataBegin + kDataSize, Reservation::kSparse));
    media_ =
        std::make_unique<NamespaceMedia>(must(file.map(record_.range)), *errors_, record_, &told);
  }

  RememberingObserver told;

  NamespaceMedia& media() { return *media_; }
  MediaErrors& errors() { return *errors_; }
  RegionRange in_region(DataRange range) const { return record_.in_region(range); }
  Database& db() { return *db_; }

  // In coordinates of the data area.
  Result<void> inject(DataRange range, bool is_known) {
    const RegionRange injected = in_region(range);
    return errors_->inject({injected}, {is_known ? injected : RegionRange{}});
  }
  Result<std::string> read(DataRange range) {
    std::string bytes(range.length(), '\0');
    PMEMD_TRY(media_->read(range.begin, std::as_writable_bytes(std::span(bytes))));
    return bytes;
  }
  Result<void> write(uint64_t offset, std::string_view bytes,
                     Media::Writer writer = Media::Writer::kProgram) {
    return media_->write(offset, std::as_bytes(std::span(bytes)), writer);
  }
  // What the image holds, bad or not.
  std::string stored(DataRange range) {
    std::string bytes(range.length(), '\0');
    must(media_->image().read(kNamespaceMetadataSize + range.begin,
                              std::as_writable_bytes(std::span(bytes))));
    return bytes;
  }

 private:
  std::unique_ptr<Database> db_;
  std::unique_ptr<MediaErrors> errors_;
  NamespaceRecord record_;
  std::unique_ptr<NamespaceMedia> media_;
};

}  // namespace pmemd
