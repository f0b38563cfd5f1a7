#include "core/device/page_runs.h"

#include <cassert>
#include <iterator>

namespace pmemd {
namespace {

// The first run that ends after `offset`. The map's keys are the side that `offset` is on.
template <class Map>
auto first_behind(const Map& runs, uint64_t offset) {
  auto it = runs.upper_bound(offset);
  if (it != runs.begin()) {
    const auto before = std::prev(it);
    if (before->first + before->second.length > offset) return before;
  }
  return it;
}

template <class Space>
std::optional<PageRun> clipped(const PageRun& run, Range<Space> whole, Range<Space> range) {
  const Range<Space> cut = whole.intersect(range);
  if (cut.empty()) return std::nullopt;
  return run.part(cut.begin - whole.begin, cut.length());
}

}  // namespace

void PageRuns::add(const PageRun& run) {
  by_file_.emplace(run.file, run);
  by_device_.emplace(run.device, run);
  bytes_ += run.length;
}

void PageRuns::take(const PageRun& run) {
  by_file_.erase(run.file);
  by_device_.erase(run.device);
  bytes_ -= run.length;
}

void PageRuns::insert(PageRun run) {
  assert(run.length > 0);
  assert(!first_in(run.file_range()) && !first_in(run.device_range()));
  const auto next = by_file_.find(run.file + run.length);
  if (next != by_file_.end() && next->second.device == run.device + run.length) {
    const PageRun behind = next->second;
    take(behind);
    run.length += behind.length;
  }
  const auto it = by_file_.lower_bound(run.file);
  if (it != by_file_.begin()) {
    const PageRun before = std::prev(it)->second;
    if (before.file + before.length == run.file && before.device + before.length == run.device) {
      take(before);
      run = {before.file, before.device, before.length + run.length};
    }
  }
  add(run);
}

void PageRuns::erase(const PageRun& part) {
  const auto it = first_behind(by_file_, part.file);
  assert(it != by_file_.end());
  const PageRun whole = it->second;
  assert(whole.file_range().contains(part.file_range()));
  assert(part.device - whole.device == part.file - whole.file);
  take(whole);
  const uint64_t before = part.file - whole.file;
  const uint64_t behind = before + part.length;
  if (before > 0) add(whole.part(0, before));
  if (behind < whole.length) add(whole.part(behind, whole.length));
}

std::optional<PageRun> PageRuns::first_in(FileRange range) const {
  const auto it = first_behind(by_file_, range.begin);
  if (it == by_file_.end()) return std::nullopt;
  return clipped(it->second, it->second.file_range(), range);
}

std::optional<PageRun> PageRuns::first_in(DataRange range) const {
  const auto it = first_behind(by_device_, range.begin);
  if (it == by_device_.end()) return std::nullopt;
  return clipped(it->second, it->second.device_range(), range);
}

}  // namespace pmemd
