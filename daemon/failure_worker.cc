#include "daemon/failure_worker.h"

#include <pthread.h>
#include <spdlog/spdlog.h>

#include <utility>

#include "core/base/memory.h"

namespace pmemd {

FailureWorker::FailureWorker(FailurePorts ports)
    : ports_(std::move(ports)), thread_([this] { run(); }) {}

FailureWorker::~FailureWorker() {
  {
    MutexLock lock(mutex_);
    stop_ = true;
    found_cv_.notify_all();
  }
  thread_.join();
}

void FailureWorker::note_latent(const Device& device, DataRange range) {
  const MustAllocate it_has_happened;
  MutexLock lock(mutex_);
  found_[device.root_ino()].latent.insert(range);
  found_cv_.notify_one();
}

void FailureWorker::note_cleared(const Device& device, const std::vector<DataRange>& ranges) {
  const MustAllocate it_has_happened;
  MutexLock lock(mutex_);
  RangeSet<DataSpace>& cleared = found_[device.root_ino()].cleared;
  for (const DataRange& range : ranges) cleared.insert(range);
  found_cv_.notify_one();
}

std::vector<DataRange> FailureWorker::touched(const Device& device, DataRange range) const {
  RangeSet<DataSpace> touched;
  if (device.is_volume()) {  // its legs' memory was
    const VolumeTable& table = device.record().of_volume().table;
    for (const auto& [leg, part] : table.map_by_leg(range)) {
      for (const DataRange& found : this->touched(*device.legs()->all()[leg], part)) {
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

void FailureWorker::run() {
  pthread_setname_np(pthread_self(), "failure");
  while (true) {
    Noted found;
    {
      MutexLock lock(mutex_);
      while (found_.empty() && !stop_) found_cv_.wait(mutex_);
      if (stop_) return;
      const MustAllocate not_lost;
      found.swap(found_);
      acting_ = found;
    }
    const MustAllocate not_lost;
    for (const auto& [ino, ranges] : found) act(ino, ranges);
    MutexLock lock(mutex_);
    acting_.clear();
  }
}

void FailureWorker::act(uint64_t ino, const Found& found) {
  const auto device = ports_.device_of(ino);
  if (!device) return;  // destroyed meanwhile
  for (const DataRange& range : found.latent.ranges()) {
    const auto report = discover_errors(*device, range, ports_);
    // The range can't be read in any case; what is missing is who was told.
    if (!report) spdlog::error("{}", report.error().describe());
  }
  tell_cleared(*device, found.cleared.ranges(), ports_);
}

}  // namespace pmemd
