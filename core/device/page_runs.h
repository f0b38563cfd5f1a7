// Maps pages of a file to pages of a device, one to one, as runs.
//
// Memory grows with the number of runs: runs merge when they are adjacent on both sides.
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
  // The part that begins `skip` bytes into it, at most `most` bytes.
  PageRun part(uint64_t skip, uint64_t most) const {
    return {file + skip, device + skip, std::min(length - skip, most)};
  }
  bool operator==(const PageRun&) const = default;
};

class PageRuns {
 public:
  // Asserts: no page of the run, of the file or of the device, is mapped already.
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
