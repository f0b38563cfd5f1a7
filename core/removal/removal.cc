#include "core/removal/removal.h"

#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <functional>
#include <set>
#include <utility>

#include "core/base/fault.h"
#include "core/base/memory.h"
#include "core/base/unique_fd.h"
#include "core/base/units.h"
#include "core/removal/fates.h"
#include "core/removal/look.h"
#include "core/removal/p2p_return.h"
#include "core/removal/target.h"

// glibc 2.36's header has no C++ linkage of its own.
extern "C" {
#include <sys/pidfd.h>
}

namespace pmemd {
namespace {

// The RELEASE of a process that has just ended may still be in our queue: such requests get this
// long to arrive before a device is called busy.
constexpr std::chrono::milliseconds kReleaseLag{250};

FaultPoint fault_kill("disable.kill", "no new opens, reads and writes");
FaultPoint fault_notify("disable.notify", "telling the holders");
FaultPoint fault_unpin("disable.unpin", "waiting for pins and buffers");
FaultPoint fault_migrate("disable.migrate", "bringing private pages back to system memory");
FaultPoint fault_flush("disable.flush", "writing back what mappings stored");
FaultPoint fault_revoke("disable.revoke", "taking pages away from the mappers");
FaultPoint fault_end("disable.end", "ending the mappers' processes");
FaultPoint fault_drain("disable.drain", "waiting for requests in flight");
FaultPoint fault_release("disable.release", "all of the release");

// One removal of several devices; each step acts on all of them.
class Removal {
 public:
  Removal(std::vector<Device*> devices, const RemovalOptions& options, KernelPort& kernel,
          EventBus& events)
      : devices_(std::move(devices)), options_(options), kernel_(kernel), events_(events) {
    targets_.reserve(devices_.size());
    for (Device* device : devices_) {
      targets_.emplace_back(*device, devices_);
      reports_.push_back(start_report(*device));
      reports_.back().surprise = options.surprise;
    }
    killed_.resize(devices_.size());
  }

  RemovalOutcome run() {
    Result<void> result = remove();
    if (!result) take_back();
    tell_fates();
    return {std::move(reports_), std::move(result)};
  }

 private:
  Result<void> remove() {
    PMEMD_TRY(step("kill", fault_kill, &Removal::kill));
    PMEMD_TRY(step("notify", fault_notify, &Removal::notify));
    PMEMD_TRY(step("unpin", fault_unpin, &Removal::unpin));
    PMEMD_TRY(step("migrate", fault_migrate, &Removal::migrate));
    PMEMD_TRY(step("flush", fault_flush, &Removal::flush));
    auto revoked = step("revoke", fault_revoke, &Removal::revoke);
    // Also if pages could not be taken away: they go with the processes.
    if (revoked || revoked.err() == EBUSY) {
      PMEMD_TRY(step("end", fault_end, &Removal::end_mappers));
    }
    PMEMD_TRY(std::move(revoked));
    PMEMD_TRY(step("drain", fault_drain, &Removal::drain));
    return step("release", fault_release, &Removal::release);
  }

  Result<void> step(const char* name, FaultPoint& fault, Result<void> (Removal::*act)()) {
    const auto start = Clock::now();
    Result<void> result = or_no_memory([&]() -> Result<void> {
      PMEMD_TRY(fault.hit());
      return (this->*act)();
    });
    const MustAllocate noted;
    const auto took = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start);
    for (auto& report : reports_) report.steps.push_back({name, took});
    return result;
  }

  Deadline drain_deadline() const { return deadline_after(options_.drain_timeout); }

  Result<void> kill();
  Result<void> notify();
  Result<void> unpin();
  Result<void> migrate();
  Result<void> flush();
  Result<void> revoke();
  Result<void> end_mappers();
  Result<void> drain();
  Result<void> release();

  Result<void> kill_one(Device& device);
  void stop_opens();
  void take_back();
  void tell_fates();
  void end_process(RemovalReport& report, pid_t pid, const std::function<bool()>& still_holds);
  Result<void> find_ranges();
  void find_holders();
  uint64_t tell_going(const Target& target, const RemovalReport& report);
  Result<void> wait_unpinned(const Target& leg, RemovalReport& report, Deadline deadline);
  Result<void> revoke_one(Target& target, RemovalReport& report);
  Result<void> wait_requests();
  Result<void> take_pins(RemovalReport& report, Device& device, Deadline deadline);
  Result<void> take_buffers(RemovalReport& report, Device& device, Deadline deadline);

  std::vector<Device*> devices_;
  const RemovalOptions& options_;
  KernelPort& kernel_;
  EventBus& events_;
  // [i]: of devices_[i].
  std::vector<Target> targets_;
  std::vector<RemovalReport> reports_;
  ProcessFates fates_;
  std::vector<bool> killed_;  // by us: we take back only our own kills
  bool stopped_opens_ = false;
  bool told_ = false;    // pre-remove was published
  bool waited_ = false;  // since the last look for holders
  bool hidden_ = false;
};

// Makes each device that was killed here and isn't disabled live as before.
void Removal::take_back() {
  const MustAllocate whole;
  // Legs first: a volume is live only when its legs are.
  for (size_t i = devices_.size(); i-- > 0;) {
    Device* const device = devices_[i];
    if (stopped_opens_ && device->state() == Device::State::kLive) {
      device->handles().let_open_again();
    }
    if (!killed_[i] || device->state() == Device::State::kDisabled) continue;
    device->resurrect();
    killed_[i] = false;
    // Buffers that surprise took from a pool aren't given back, but become free.
    (void)return_buffers(*device, kernel_, drain_deadline());
    if (hidden_) kernel_.show(*device);
    if (told_) targets_[i].tell(EventKind::kEnabled, events_);
  }
}

Result<void> Removal::wait_requests() {
  const Deadline deadline = drain_deadline();
  Result<void> first_error;
  for (size_t i = 0; i < devices_.size(); ++i) {
    if (devices_[i]->wait_requests(deadline)) continue;
    reports_[i].requests_left = devices_[i]->requests_in_flight();
    auto error = held_up(reports_[i], *devices_[i],
                         format_count(reports_[i].requests_left, "request") + " in flight");
    if (first_error) first_error = std::move(error);
  }
  return first_error;
}

Result<void> Removal::kill_one(Device& device) {
  const Deadline deadline = deadline_after(std::max(options_.wait, kReleaseLag));
  while (true) {
    auto result = device.kill(!options_.force);
    if (result.err() != EBUSY || !device.claims().wait_handles_closed(deadline)) return result;
    // It was idle for a moment; if it was opened again, retry for the rest of the time.
    if (Clock::now() >= deadline) return device.kill(!options_.force);
  }
}

// From here on, a look finds everyone that the next steps hit: there are no new holders, except by
// a fork, or through a leg's volume.
void Removal::stop_opens() {
  stopped_opens_ = true;
  for (Device* device : devices_) device->handles().stop_opens();
}

// A process that stores and syncs all the time is hit by the first request that fails, and may end
// at once: so the first look comes before the kill.
Result<void> Removal::kill() {
  if (options_.force) {
    stop_opens();
    PMEMD_TRY(find_ranges());
    find_holders();
  }
  for (size_t i = 0; i < devices_.size(); ++i) {
    auto result = kill_one(*devices_[i]);
    killed_[i] = result.has_value();
    if (result) continue;
    take_back();
    find_holders();
    if (result.err() != EBUSY) return result;
    note_in_the_way(reports_[i], *devices_[i]);
    return busy(reports_[i], *devices_[i]);
  }
  // Leases of earlier requests are all recorded once these have ended.
  return wait_requests();
}

Result<void> Removal::notify() {
  PMEMD_TRY(find_ranges());
  find_holders();
  told_ = true;
  std::vector<uint64_t> seqs;
  seqs.reserve(targets_.size());
  for (size_t i = 0; i < targets_.size(); ++i) {
    seqs.push_back(tell_going(targets_[i], reports_[i]));
  }
  waited_ = options_.grace.count() != 0;
  if (!waited_) return {};
  const Deadline deadline = deadline_after(options_.grace);
  for (size_t i = 0; i < targets_.size(); ++i) {
    (void)targets_[i].files_of().handles().events().wait_answers(seqs[i], deadline);
  }
  return {};
}

// Tells pre-remove: of the device, to its mappers, and of each mapped file range.
uint64_t Removal::tell_going(const Target& target, const RemovalReport& report) {
  const uint64_t seq = target.tell(EventKind::kPreRemove, events_, options_.grace);
  const auto& record = target.device().record();
  std::set<std::pair<std::string, FileRange>> told;
  for (const Holder& holder : report.holders) {
    for (const Mapping& mapping : holder.mappings) {
      for (const FileRange& range : target.ranges().ranges(mapping.ino, mapping.range)) {
        if (!told.emplace(mapping.path, range).second) continue;
        events_.publish(EventKind::kPreRemove, record.name(), {0, record.data_bytes()},
                        EventFile{mapping.path, range});
      }
    }
  }
  return seq;
}

// A process that has pinned a range may finish; the pages stay where they are until then.
Result<void> Removal::unpin() {
  const Deadline deadline = drain_deadline();
  for (size_t i = 0; i < devices_.size(); ++i) {
    if (targets_[i].is_leg()) {
      PMEMD_TRY(wait_unpinned(targets_[i], reports_[i], deadline));
      continue;
    }
    ClaimTable& claims = devices_[i]->claims();
    if (claims.counts().pins != 0 || devices_[i]->content().given().held() != 0) waited_ = true;
    if (options_.kill) {
      for (const Reference& pin : claims.list()) {
        if (pin.kind != ReferenceKind::kPin) continue;
        end_process(reports_[i], pin.pid, [&] {
          return std::ranges::any_of(claims.list(),
                                     [&](const Reference& now) { return now.id == pin.id; });
        });
      }
    }
    PMEMD_TRY(take_pins(reports_[i], *devices_[i], deadline));
    PMEMD_TRY(take_buffers(reports_[i], *devices_[i], deadline));
  }
  return wait_requests();  // reads that were admitted because of the pins
}

// Waits for the volume's pins that lie on the leg. If they are left they stay, like the volume,
// though the pinned bytes are gone.
Result<void> Removal::wait_unpinned(const Target& leg, RemovalReport& report, Deadline deadline) {
  if (options_.surprise || !leg.ranges().is_pinned()) return {};
  waited_ = true;
  Device& volume = leg.files_of();
  if (volume.claims().wait_unpinned(deadline) || !leg.ranges().is_pinned() || options_.abandon) {
    return {};
  }
  return held_up(report, volume, format_count(volume.claims().counts().pins, "pin"));
}

Result<void> Removal::take_pins(RemovalReport& report, Device& device, Deadline deadline) {
  ClaimTable& claims = device.claims();
  if (!options_.surprise && claims.wait_unpinned(deadline)) return {};
  if (!options_.surprise && !options_.abandon) {
    return held_up(report, device, format_count(claims.counts().pins, "pin"));
  }
  report.pins_taken = claims.remove_pins();
  return {};
}

// A taken buffer is zeroed in drain(), when the page cache has nothing of it any more.
Result<void> Removal::take_buffers(RemovalReport& report, Device& device, Deadline deadline) {
  GivenPages& given = device.content().given();
  if (!options_.surprise && given.wait_empty(deadline)) return {};
  if (!options_.surprise && !options_.abandon) {
    return held_up(report, device, format_count(given.buffers(), "buffer"));
  }
  report.buffers_taken = given.begin_return_of_all();
  return {};
}

// Comes before anything is taken away: if a page can't come back, the device stays as it was.
Result<void> Removal::migrate() {
  const Deadline deadline = drain_deadline();
  for (size_t i = 0; i < devices_.size(); ++i) {
    PMEMD_ASSIGN(reports_[i].pages_migrated,
                 devices_[i]->content().given().migrate_to_ram(deadline));
    if (reports_[i].pages_migrated != 0) waited_ = true;
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
  for (size_t i = 0; i < targets_.size(); ++i) {
    PMEMD_ASSIGN(const auto flushed, targets_[i].ranges().flush(kernel_));
    reports_[i].files_flushed = flushed.done;
    if (flushed.tried != 0) waited_ = true;
  }
  return {};
}

Result<void> Removal::revoke() {
  // After the flush, which opens files by path if the daemon lacks privilege.
  hidden_ = true;
  for (const Device* device : devices_) kernel_.hide(*device);
  if (waited_) find_holders();  // holders that came since
  for (size_t i = 0; i < targets_.size(); ++i) {
    PMEMD_TRY(revoke_one(targets_[i], reports_[i]));
  }
  return {};
}

Result<void> Removal::revoke_one(Target& target, RemovalReport& report) {
  report.files_revoked = target.ranges().files().size();
  // With surprise, laundering a page fails, which may leave it cached but clean: inval twice.
  const int at_least = options_.surprise ? 2 : 1;
  PMEMD_ASSIGN(report.pages_left, target.ranges().revoke(kernel_, report.holders, at_least));
  if (report.pages_left != 0) {
    return fail(EBUSY,
                fmt::format("{}: {} still mapped after all revocations", report.name_of_namespace,
                            format_count(report.pages_left, "page")),
                "end the processes with --kill, then call again");
  }
  target.give_back();
  Device& device = target.device();
  if (device.state() == Device::State::kDying) device.stop_writeback();
  report.lost_writebacks = target.lost_writebacks();
  return {};
}

void Removal::end_process(RemovalReport& report, pid_t pid,
                          const std::function<bool()>& still_holds) {
  const UniqueFd pidfd(pidfd_open(pid, 0));
  // The pid may have been reused since: check that the process still holds what it held.
  if (!pidfd || !still_holds()) return;
  if (pidfd_send_signal(pidfd.get(), SIGKILL, nullptr, 0) == 0) report.killed.push_back(pid);
}

Result<void> Removal::end_mappers() {
  if (!options_.kill) return {};
  std::set<pid_t> done;
  for (auto& report : reports_) {
    for (const Holder& holder : report.holders) {
      if (holder.fate != Holder::Fate::kHolds) continue;
      if (holder.mappings.empty() || !done.insert(holder.pid).second) continue;
      end_process(report, holder.pid, [&] {
        const auto holders = kernel_.holders({devices_.begin(), devices_.end()});
        return std::ranges::any_of(holders, [&](const Holder& now) {
          return now.pid == holder.pid && now.started == holder.started && !now.mappings.empty();
        });
      });
    }
  }
  return {};
}

Result<void> Removal::drain() {
  PMEMD_TRY(wait_requests());
  for (Device* device : devices_) {
    // A buffer that can't be zeroed isn't used again; release() zeroes everything, and reports
    // errors.
    (void)zero_returned_buffers(*device);
  }
  return {};
}

Result<void> Removal::release() {
  const MustAllocate whole;  // the first that is released can't be taken back
  // One deadline for all, so that waits for several leaks don't add up.
  const Deadline deadline = drain_deadline();
  Result<void> first_error;
  for (size_t i = 0; i < devices_.size(); ++i) {
    Device& device = *devices_[i];
    const uint64_t abandoned_before = device.references().abandoned();
    // The leg's volume could not be released, and needs it.
    const bool needed = !targets_[i].is_leg() && device.is_used_by_volume();
    auto result = needed ? fail(EBUSY, device.record().name() + ": its volume is not released")
                         : device.release(deadline, options_.abandon);
    reports_[i].abandoned = device.references().abandoned() - abandoned_before;
    reports_[i].disabled = device.state() == Device::State::kDisabled;
    if (result.err() == ETIMEDOUT && !reports_[i].disabled) {
      note_in_the_way(reports_[i], device);
      // Otherwise requests or buffers are left, and the device's error says which.
      if (const uint64_t leaked = device.references().unaccounted(); leaked != 0) {
        result = held_up(reports_[i], device,
                         format_count(leaked, "reference") + " that nobody accounts for");
      }
    }
    if (reports_[i].disabled) targets_[i].tell(EventKind::kRemoved, events_);
    if (!result && first_error) first_error = std::move(result);
  }
  return first_error;
}

Result<void> Removal::find_ranges() {
  for (Target& target : targets_) PMEMD_TRY(target.find());
  return {};
}

void Removal::find_holders() {
  waited_ = false;
  std::vector<const TargetView*> targets;
  targets.reserve(targets_.size());
  for (const Target& target : targets_) targets.push_back(&target);
  note_who_holds(reports_, targets, kernel_);
  for (const RemovalReport& report : reports_) fates_.watch(report.holders);
}

void Removal::tell_fates() {
  const MustAllocate whole;
  std::set<pid_t> killed;
  for (const RemovalReport& report : reports_) {
    killed.insert(report.killed.begin(), report.killed.end());
  }
  for (RemovalReport& report : reports_) {
    fates_.tell(report.holders);
    for (Holder& holder : report.holders) {
      // It was killed and may still be exiting: nothing can stop that.
      if (!killed.contains(holder.pid) || !holder.kernel.empty()) continue;
      holder.fate = Holder::Fate::kEnded;
      if (holder.ended_by.empty()) holder.ended_by = "SIGKILL";
    }
  }
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
  if (options.dry_run) {
    std::vector<const Device*> known;
    for (const Device* device : enabled) {
      for (; device != nullptr; device = device->above()) known.push_back(device);
    }
    auto looked = look_at_devices({enabled.begin(), enabled.end()}, known, kernel);
    for (RemovalReport& report : looked.reports) {
      report.dry_run = true;
      report.surprise = options.surprise;
    }
    return looked;
  }
  if (!options.force) {
    if (auto idle = check_no_leg_in_use(enabled); !idle) return {{}, std::move(idle)};
  }
  return Removal(std::move(enabled), options, kernel, events).run();
}

}  // namespace pmemd
