// Which pages of a file are which pages of a device, one to one, as runs of both.
//
// Memory grows with the number of runs: neighbours merge when they are neighbours on both sides.
//
// Thread contract: none of its own; the owner's lock guards it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>

#include "core/range/range.h"

namespace pmemd {

struct PageRun {
  uint64_t file = 0;    // where it begins, in the file
  uint64_t device = 0;  // and in the device's data
  uint64_t length = 0;  // bytes, whole pages

  FileRange file_range() const { return FileRange::sized(file, length); }
  DataRange device_range() const { return DataRange::sized(device, length); }
  // The part of it from `skip` on, at most `most` bytes.
  PageRun part(uint64_t skip, uint64_t most) const {
    return {file + skip, device + skip, std::min(length - skip, most)};
  }
  bool operator==(const PageRun&) const = default;
};

class PageRuns {
 public:
  // Asserts: none of these pages, of the file or of the device, is in it.
  void insert(PageRun run);
  // Asserts: all of it is part of one run.
  void erase(const PageRun& part);

  // The first run with a page in `range`, clipped to it.
  std::optional<PageRun> first_in(FileRange range) const;
  std::optional<PageRun> first_in(DataRange range) const;

  uint64_t bytes() const { return bytes_; }
  uint64_t count() const { return by_file_.size(); }
  bool empty() const { return by_file_.empty(); }

 private:
  using Map = std::map<uint64_t, PageRun>;

  void add(const PageRun& run);
  void take(const PageRun& run);

  Map by_file_;
  Map by_device_;  // the same runs
  uint64_t bytes_ = 0;
};

}  // namespace pmemd
