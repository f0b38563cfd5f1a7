#include "core/removal/removal.h"

#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <functional>
#include <set>
#include <utility>

#include "core/base/unique_fd.h"
#include "core/region/schema.h"

// glibc 2.36's header has no C++ linkage of its own.
extern "C" {
#include <sys/pidfd.h>
}

namespace pmemd {
namespace {

// A process that has just ended may have left its RELEASE in our queue: before a device is called
// busy, such requests get this long to arrive.
constexpr std::chrono::milliseconds kReleaseLag{250};
// A page that is stored to while it is revoked is laundered and revoked again.
constexpr int kRevokeAttempts = 4;

// One removal of several devices; each step acts on all of them.
class Removal {
 public:
  Removal(std::vector<Device*> devices, const RemovalOptions& options, KernelPort& kernel,
          EventBus& events)
      : devices_(std::move(devices)), options_(options), kernel_(kernel), events_(events) {
    for (const Device* device : devices_) {
      reports_.push_back({.name_of_namespace = device->record().name(),
                          .dry_run = options.dry_run,
                          .surprise = options.surprise});
    }
  }

  RemovalOutcome run() {
    Result<void> result = options_.dry_run ? look() : remove();
    return {std::move(reports_), std::move(result)};
  }

 private:
  Result<void> look() {
    find_holders_and_lent();
    return {};
  }

  Result<void> remove() {
    PMEMD_TRY(step("kill", &Removal::kill));
    PMEMD_TRY(step("notify", &Removal::notify));
    PMEMD_TRY(step("flush", &Removal::flush));
    auto revoked = step("revoke", &Removal::revoke);
    // Also those whose pages can't be taken away: with the processes go the pages.
    if (revoked || revoked.err() == EBUSY) PMEMD_TRY(step("report", &Removal::end_processes));
    PMEMD_TRY(std::move(revoked));
    PMEMD_TRY(step("drain", &Removal::drain));
    return step("release", &Removal::release);
  }

  Result<void> step(const char* name, Result<void> (Removal::*act)()) {
    const auto start = Clock::now();
    Result<void> result = (this->*act)();
    const auto took = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start);
    for (auto& report : reports_) report.steps.push_back({name, took});
    return result;
  }

  Deadline drain_deadline() const { return deadline_after(options_.drain_timeout); }

  Result<void> kill();
  Result<void> notify();
  Result<void> flush();
  Result<void> revoke();
  Result<void> end_processes();
  Result<void> drain();
  Result<void> release();

  Result<void> busy(const Device* device) const;
  void find_holders_and_lent();
  uint64_t pages_present(RemovalReport& report, Device& device, bool keep);
  Result<void> wait_requests();

  std::vector<Device*> devices_;
  const RemovalOptions& options_;
  KernelPort& kernel_;
  EventBus& events_;
  std::vector<RemovalReport> reports_;  // reports_[i] tells of devices_[i]
};

Result<void> Removal::wait_requests() {
  const Deadline deadline = drain_deadline();
  Result<void> first_error;
  for (size_t i = 0; i < devices_.size(); ++i) {
    if (devices_[i]->wait_requests(deadline)) continue;
    reports_[i].requests_left = devices_[i]->requests_in_flight();
    if (!first_error) continue;
    first_error = fail(ETIMEDOUT,
                       fmt::format("{}: {} requests in flight did not end in time",
                                   devices_[i]->record().name(), reports_[i].requests_left),
                       "call again: the removal goes on where it stopped");
  }
  return first_error;
}

Result<void> Removal::kill() {
  std::vector<Device*> killed;
  for (Device* device : devices_) {
    if (device->state() != Device::State::kLive) continue;  // an earlier removal stopped half-way
    auto result = device->kill(!options_.force);
    if (result.err() == EBUSY && device->claims().wait_handles_closed(deadline_after(kReleaseLag))) {
      result = device->kill(!options_.force);
    }
    if (!result) {
      for (Device* other : killed) other->resurrect();
      find_holders_and_lent();
      return result.err() == EBUSY ? busy(device) : result;
    }
    killed.push_back(device);
  }
  // What was lent by requests of before is known when they have ended.
  return wait_requests();
}

Result<void> Removal::busy(const Device* device) const {
  for (size_t i = 0; i < devices_.size(); ++i) {
    const size_t holders = reports_[i].holders.size();
    // None that we may look at: another user's, and we are not root.
    if (devices_[i] != device || holders == 0) continue;
    return fail(EBUSY, fmt::format("{}: in use by {} process{}", device->record().name(), holders,
                                   holders == 1 ? "" : "es"));
  }
  return fail(EBUSY,
              fmt::format("{}: {} open files", device->record().name(), device->handle_count()));
}

Result<void> Removal::notify() {
  find_holders_and_lent();
  for (size_t i = 0; i < devices_.size(); ++i) {
    const auto& record = devices_[i]->record();
    const DataRange whole{0, record.data_bytes()};
    events_.publish(EventKind::kPreRemove, record.name(), whole);
    std::set<std::pair<std::string, FileRange>> told;
    for (const Holder& holder : reports_[i].holders) {
      for (const Mapping& mapping : holder.mappings) {
        if (!told.emplace(mapping.path, mapping.range).second) continue;
        events_.publish(EventKind::kPreRemove, record.name(), whole,
                        EventFile{mapping.path, mapping.range});
      }
    }
  }
  const Deadline deadline = deadline_after(options_.grace);
  for (Device* device : devices_) {
    if (options_.grace.count() > 0) (void)device->claims().wait_handles_closed(deadline);
  }
  return {};
}

Result<void> Removal::flush() {
  if (options_.surprise) {
    for (Device* device : devices_) {
      if (device->state() == Device::State::kDying) device->stop_writeback();
    }
    return wait_requests();
  }
  for (size_t i = 0; i < devices_.size(); ++i) {
    for (const uint64_t ino : devices_[i]->leases().inodes()) {
      // Only stores through a mapping dirty pages behind our back, and they want a writable open.
      if (!devices_[i]->has_writer(ino)) continue;
      if (kernel_.flush(ino, kWholeFile)) ++reports_[i].files_flushed;
    }
  }
  return {};
}

Result<void> Removal::revoke() {
  // Behind the flush, which without privilege opens files by their paths.
  for (const Device* device : devices_) kernel_.hide(*device);
  find_holders_and_lent();
  for (size_t i = 0; i < devices_.size(); ++i) {
    Device& device = *devices_[i];
    RemovalReport& report = reports_[i];
    const std::vector<uint64_t> inodes = device.leases().inodes();
    for (int attempt = 1; attempt <= kRevokeAttempts; ++attempt) {
      for (const uint64_t ino : inodes) {
        auto result = kernel_.inval(ino, kWholeFile);
        if (!result && result.err() != ENOENT) return result;
      }
      report.pages_left = pages_present(report, device, /*keep=*/false);
      // A surprised page fails its laundering, which may keep it cached though clean: once more.
      if (report.pages_left == 0 && !(options_.surprise && attempt == 1)) break;
    }
    report.files_revoked = inodes.size();
    if (report.pages_left != 0) {
      return fail(EBUSY,
                  fmt::format("{}: {} pages are still mapped after {} revocations",
                              report.name_of_namespace, report.pages_left, kRevokeAttempts),
                  "end the processes with --kill, then call again");
    }
    device.leases().give_back_all();
    if (device.state() == Device::State::kDying) device.stop_writeback();
    report.lost_writebacks = device.lost_writebacks();
  }
  return {};
}

Result<void> Removal::end_processes() {
  if (!options_.kill) return {};
  std::set<pid_t> done;
  for (auto& report : reports_) {
    for (const Holder& holder : report.holders) {
      if (holder.mappings.empty() || !done.insert(holder.pid).second) continue;
      const UniqueFd pidfd(pidfd_open(holder.pid, 0));
      // The pid may have passed to another process since: the mappings must still be there.
      const auto now = kernel_.holders(devices_);
      const bool still = std::ranges::any_of(
          now, [&](const Holder& h) { return h.pid == holder.pid && !h.mappings.empty(); });
      if (!pidfd || !still) continue;
      if (pidfd_send_signal(pidfd.get(), SIGKILL, nullptr, 0) == 0) {
        report.killed.push_back(holder.pid);
      }
    }
  }
  return {};
}

Result<void> Removal::drain() { return wait_requests(); }

Result<void> Removal::release() {
  Result<void> first_error;
  for (size_t i = 0; i < devices_.size(); ++i) {
    Device& device = *devices_[i];
    auto result = device.release(drain_deadline());
    reports_[i].disabled = device.state() == Device::State::kDisabled;
    if (reports_[i].disabled) {
      events_.publish(EventKind::kRemoved, device.record().name(),
                      {0, device.record().data_bytes()});
    }
    if (!result && first_error) first_error = std::move(result);
  }
  return first_error;
}

void Removal::find_holders_and_lent() {
  const auto all = kernel_.holders(devices_);
  for (size_t i = 0; i < devices_.size(); ++i) {
    Device& device = *devices_[i];
    const auto mine = [&](const auto& held) {
      return inode_serial(held.ino) == device.record().serial;
    };
    RemovalReport& report = reports_[i];
    report.holders.clear();
    for (const Holder& holder : all) {
      Holder part{.pid = holder.pid, .uid = holder.uid, .comm = holder.comm};
      std::ranges::copy_if(holder.mappings, std::back_inserter(part.mappings), mine);
      std::ranges::copy_if(holder.open_files, std::back_inserter(part.open_files), mine);
      if (!part.mappings.empty() || !part.open_files.empty()) {
        report.holders.push_back(std::move(part));
      }
    }
    const auto totals = device.leases().totals();
    report.lent_ranges = totals.ranges;
    report.lent_bytes = totals.bytes;
    pages_present(report, device, /*keep=*/true);
  }
}

// Pages of the device that are present in its mappers; `keep`: note them in the report.
uint64_t Removal::pages_present(RemovalReport& report, Device& device, bool keep) {
  uint64_t total = 0;
  for (Holder& holder : report.holders) {
    for (Mapping& mapping : holder.mappings) {
      const auto present =
          count_present_pages(holder.pid, mapping, device.leases().ranges(mapping.ino));
      if (!present) continue;  // not ours to look at
      if (keep) mapping.pages_present = *present;
      total += *present;
    }
  }
  return total;
}

}  // namespace

RemovalOutcome remove_devices(const std::vector<Device*>& devices, const RemovalOptions& options,
                              KernelPort& kernel, EventBus& events) {
  std::vector<Device*> enabled;
  std::ranges::copy_if(devices, std::back_inserter(enabled), [](const Device* device) {
    return device->state() != Device::State::kDisabled;
  });
  if (enabled.empty()) {
    std::string names;
    for (const Device* device : devices)
      names += (names.empty() ? "" : ", ") + device->record().name();
    return {{}, fail(ENXIO, fmt::format("{}: not enabled", names.empty() ? "nothing" : names))};
  }
  return Removal(std::move(enabled), options, kernel, events).run();
}

std::vector<RemovalReport> look_at_devices(const std::vector<Device*>& devices,
                                           KernelPort& kernel) {
  EventBus nobody;
  const RemovalOptions options = {.dry_run = true};
  return Removal(devices, options, kernel, nobody).run().reports;
}

}  // namespace pmemd
