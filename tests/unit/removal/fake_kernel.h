// The kernel's part of a removal, played by the test: logs each call in order, with the events.
//
// Thread contract: as KernelPort, calls() too; the hooks are set before the removal, the rest of
// what it tells is for afterwards.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "core/base/mutex.h"
#include "core/pool/schema.h"
#include "core/removal/removal.h"

namespace pmemd {

class FakeKernel : public KernelPort {
 public:
  using Log = std::vector<std::string>;

  // Events go to the same log.
  explicit FakeKernel(EventBus& events) {
    events.set_sink([this](const Event& event) {
      note(fmt::format("{} {}", to_string(event.kind), event.name_of_namespace));
      events_.push_back(event);
      if (on_event) on_event(event);
    });
  }

  Result<void> flush(uint64_t ino, FileRange range) override {
    note(fmt::format("flush {}", name(ino)));
    whole_files_only_ = whole_files_only_ && range == kWholeFile;
    return on_flush ? on_flush(ino) : Result<void>();
  }
  Result<void> inval(uint64_t ino, FileRange range) override {
    note(fmt::format("inval {}", name(ino)));
    invals_.emplace_back(ino, range);
    whole_files_only_ = whole_files_only_ && range == kWholeFile;
    return on_inval ? on_inval(ino) : Result<void>();
  }
  void hide(const Device& device) override { note("hide " + device.record().name()); }
  void show(const Device& device) override { note("show " + device.record().name()); }
  std::vector<Holder> holders(const std::vector<const Device*>&) const override {
    ++walks_;
    return on_holders ? on_holders() : people;
  }

  // "1:7": serial and index. Calls on the inodes of a device come in no particular order.
  static std::string name(uint64_t ino) {
    return fmt::format("{}:{}", inode_serial(ino), ino & ((uint64_t{1} << kInodeSerialShift) - 1));
  }
  // In the order in which they were made.
  Log calls_in_order() const {
    MutexLock lock(mutex_);
    return log_;
  }
  // With neighbouring calls of one kind sorted.
  Log log() const {
    MutexLock lock(mutex_);
    Log sorted = log_;
    for (auto it = sorted.begin(); it != sorted.end();) {
      const auto kind = it->substr(0, it->find(' '));
      const auto end = std::find_if(
          it, sorted.end(), [&](const auto& line) { return !line.starts_with(kind + " "); });
      std::sort(it, end);
      it = end;
    }
    return sorted;
  }
  size_t calls(const std::string& kind) const {
    MutexLock lock(mutex_);
    return static_cast<size_t>(std::ranges::count_if(
        log_, [&](const auto& line) { return line.starts_with(kind + " "); }));
  }
  void forget_log() {
    MutexLock lock(mutex_);
    log_.clear();
  }
  const std::vector<Event>& events() const { return events_; }
  const std::vector<std::pair<uint64_t, FileRange>>& invals() const { return invals_; }
  int walks() const { return walks_; }
  bool whole_files_only() const { return whole_files_only_; }

  std::vector<Holder> people;  // what a walk finds, unless on_holders is set
  std::function<std::vector<Holder>()> on_holders;
  std::function<Result<void>(uint64_t)> on_flush;
  std::function<Result<void>(uint64_t)> on_inval;
  std::function<void(const Event&)> on_event;

 private:
  void note(std::string line) {
    MutexLock lock(mutex_);
    log_.push_back(std::move(line));
  }

  mutable Mutex mutex_;
  Log log_;
  std::vector<Event> events_;
  std::vector<std::pair<uint64_t, FileRange>> invals_;
  mutable int walks_ = 0;
  bool whole_files_only_ = true;
};

}  // namespace pmemd
