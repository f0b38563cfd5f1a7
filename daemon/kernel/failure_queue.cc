#include "daemon/kernel/failure_queue.h"

#include <spdlog/spdlog.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <string>
#include <utility>

#include "core/base/memory.h"
#include "core/base/units.h"

namespace pmemd {
namespace {

constexpr std::chrono::seconds kLostInterval{1};
enum : uint64_t { kFound, kLost };  // the worker's keys

}  // namespace

FailureQueue::FailureQueue(FailurePorts ports, Worker& worker)
    : ports_(std::move(ports)), worker_(worker) {}

FailureQueue::~FailureQueue() {
  worker_.cancel(this);
  act_on_lost();  // nobody else ever tells of them
}

void FailureQueue::note_latent(uint64_t device_ino, DataRange range) {
  const MustAllocate it_has_happened;
  {
    MutexLock lock(mutex_);
    found_[device_ino].latent.insert(range);
  }
  worker_.submit_once({this, kFound}, [this] { act_on_found(); });
}

void FailureQueue::note_cleared(uint64_t device_ino, const std::vector<DataRange>& ranges) {
  const MustAllocate it_has_happened;
  {
    MutexLock lock(mutex_);
    RangeSet<DataSpace>& cleared = found_[device_ino].cleared;
    for (const DataRange& range : ranges) cleared.insert(range);
  }
  worker_.submit_once({this, kFound}, [this] { act_on_found(); });
}

void FailureQueue::note_lost(uint64_t ino, FileRange range, int err) {
  const MustAllocate it_has_happened;
  Deadline due;
  {
    MutexLock lock(mutex_);
    if (!lost_.contains(ino) && lost_.size() >= kMaxLostFiles) return;
    LostStores& lost = lost_[ino];
    lost.err = err;
    lost.ranges.insert(range);
    if (lost.ranges.count() > kMaxLostRanges) {
      const auto ranges = lost.ranges.ranges();
      lost.ranges.insert({ranges.front().begin, ranges.back().end});
    }
    due = lost_due_;
  }
  worker_.submit_once({this, kLost}, [this] { act_on_lost(); }, due);
}

std::vector<DataRange> FailureQueue::touched(const Device& device, DataRange range) const {
  RangeSet<DataSpace> touched;
  if (!device.memory().legs().empty()) {  // its legs' memory failed
    const VolumeTable& table = device.record().of_volume().table;
    for (const auto& [leg, part] : table.map_by_leg(range)) {
      for (const DataRange& found : this->touched(*device.memory().legs()[leg], part)) {
        for (const DataRange& on_volume : table.rmap(leg, found)) touched.insert(on_volume);
      }
    }
    return touched.ranges();
  }
  MutexLock lock(mutex_);
  for (const Noted* noted : {&found_, &acting_}) {
    const auto found = noted->find(device.root_ino());
    if (found == noted->end()) continue;
    for (const DataRange& part : found->second.latent.intersect(range)) touched.insert(part);
  }
  return touched.ranges();
}

void FailureQueue::act_on_found() {
  const MustAllocate not_lost;
  Noted found;
  {
    MutexLock lock(mutex_);
    found.swap(found_);
    acting_ = found;
  }
  for (const auto& [ino, ranges] : found) act(ino, ranges);
  MutexLock lock(mutex_);
  acting_.clear();
}

void FailureQueue::act_on_lost() {
  const MustAllocate not_lost;
  Lost lost;
  {
    MutexLock lock(mutex_);
    lost.swap(lost_);
    lost_due_ = deadline_after(kLostInterval);
  }
  for (const auto& [ino, stores] : lost) tell_lost(ino, stores);
}

void FailureQueue::act(uint64_t ino, const Found& found) {
  const auto device = ports_.device_of(ino);
  if (!device) return;  // destroyed meanwhile
  if (!found.latent.empty()) {
    const auto report = discover_errors(*device, found.latent.ranges(), ports_);
    // They can't be read in any case; only the notification is missing.
    if (!report) spdlog::error("{}", report.error().describe());
  }
  tell_cleared(*device, found.cleared.ranges(), ports_);
}

void FailureQueue::tell_lost(uint64_t ino, const LostStores& lost) {
  const auto device = ports_.device_of(ino);
  if (!device) return;
  const std::string name = device->record().name();
  const auto paths = device->content().paths({{ino, ""}});
  const auto path = paths.find(ino);
  const std::string file = path == paths.end() ? fmt::format("inode {}", ino) : path->second;
  spdlog::error("{}: {}: {} that mappings stored could not be written back, and are lost: {}", name,
                file, format_size(lost.ranges.bytes()), std::strerror(lost.err));
  const auto kind = lost.err == ENOSPC ? EventKind::kNoSpace : EventKind::kWritebackError;
  lost.ranges.for_each([&](FileRange range) {
    ports_.events.publish(kind, name, /*range=*/{}, EventFile{file, range});
  });
}

}  // namespace pmemd
