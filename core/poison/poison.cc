#include "core/poison/poison.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "core/base/fault.h"
#include "core/base/memory.h"
#include "core/base/units.h"
#include "core/failure/memory_failure.h"
#include "core/range/translate.h"
#include "core/removal/fates.h"
#include "core/removal/file_ranges.h"

namespace pmemd {
namespace {

// Ranges of at least this size are written back in bulk before their pages are taken away.
constexpr uint64_t kFlushFrom = 2 * kMiB;

FaultPoint fault_record("inject.record", "recording which bytes are bad");
FaultPoint fault_failure("inject.failure", "finding whose bytes they are; they are bad by now");
FaultPoint fault_takeover("inject.takeover", "asking who takes over");
FaultPoint fault_revoke("inject.revoke", "taking the bad pages away from their mappers");
FaultPoint fault_tell("inject.tell", "telling the mappers; the pages are gone by now");

// The whole pages that the sectors lie in, merged.
PhysRanges pages_of(const Device& device, const DataRanges& sectors) {
  PhysRanges pages;
  pages.reserve(sectors.size());
  for (const DataRange& range : sectors) {
    const PhysRange there = device.memory().physical(range.widened_to(kPageSize));
    if (!pages.empty() && there.begin <= pages.back().end) {
      pages.back().end = there.end;
    } else {
      pages.push_back(there);
    }
  }
  return pages;
}

// One failure in progress.
class RangeFailure {
 public:
  RangeFailure(Device& device, const DataRanges& ranges, const FailurePorts& ports)
      : device_(device), ports_(ports) {
    report_.name_of_namespace = device.record().name();
    report_.ranges = ranges;
  }

  Result<void> find(const DataRanges& bad);
  void look();  // finds who has it mapped; joins earlier looks
  void announce(EventKind kind);
  void ask();
  Result<void> revoke();
  void tell(EventKind kind, MapperEventKind mapper_kind);
  void shut_down();
  FailureReport take_report();

 private:
  void add_files();
  void name_files();
  std::vector<FileRange> still_bad(uint64_t ino) const;

  Device& device_;
  const FailurePorts& ports_;
  DataRanges bad_;
  FailedParts parts_;
  std::map<uint64_t, std::shared_ptr<Device>> devices_;  // of the inodes that are hit
  FileRanges failed_;
  FileRanges handled_;  // by takeovers
  FileRanges revoke_;
  std::chrono::system_clock::time_point time_ = std::chrono::system_clock::now();
  ProcessFates fates_;
  bool named_ = false;
  FailureReport report_;
};

Result<void> RangeFailure::find(const DataRanges& bad) {
  bad_ = bad;
  parts_.clear();
  devices_.clear();
  for (FileRanges* ranges : {&failed_, &handled_, &revoke_}) ranges->clear();
  report_.files.clear();
  named_ = false;
  report_.bad_bytes = 0;
  for (const DataRange& range : bad) report_.bad_bytes += range.length();
  auto found = memory_failure(ports_.registry, pages_of(device_, bad), kMfActionRequired, parts_);
  // ENXIO: it was disabled meanwhile, so nobody uses it any more.
  if (!found && found.err() != ENXIO) return found;
  for (const FailedPart& part : parts_) {
    if (part.is_metadata) continue;
    const auto [device, is_new] = devices_.try_emplace(part.ino);
    if (is_new) device->second = ports_.device_of(part.ino);
    if (!device->second) continue;
    failed_.add(*device->second, part.ino, part.file);
  }
  std::erase_if(devices_, [](const auto& device) { return device.second == nullptr; });
  revoke_ = failed_;
  add_files();
  return {};
}

void RangeFailure::add_files() {
  for (const auto& [ino, device] : devices_) {
    const std::string name = device->record().name();
    for (const FileRange& range : failed_.ranges(ino)) {
      report_.files.push_back({.ino = ino, .name_of_namespace = name, .path = {}, .range = range});
    }
  }
  for (const FailedPart& part : parts_) {
    if (!part.is_metadata) continue;
    const auto device = ports_.device_of(part.ino);
    report_.files.push_back({.ino = part.ino,
                             .name_of_namespace = device ? device->record().name() : "",
                             .path = {},
                             .range = part.file,
                             .is_metadata = true});
  }
}

// Once, and only before telling or reporting: it may cost a walk of all directories.
void RangeFailure::name_files() {
  if (named_) return;
  named_ = true;
  const auto known = paths_of(report_.holders);
  std::map<Device*, std::map<uint64_t, std::string>> hints;
  for (const auto& [ino, device] : devices_) {
    const auto hint = known.find(ino);
    hints[device.get()].emplace(ino, hint == known.end() ? "" : hint->second);
  }
  std::map<uint64_t, std::string> paths;
  for (const auto& [device, of_device] : hints) paths.merge(device->content().paths(of_device));
  for (FailedFile& file : report_.files) {
    if (const auto found = paths.find(file.ino); found != paths.end()) file.path = found->second;
  }
}

void RangeFailure::look() {
  std::set<Device*> devices;
  for (const auto& [ino, device] : devices_) devices.insert(device.get());
  if (devices.empty()) return;
  auto now = failed_.held(ports_.kernel.holders({devices.begin(), devices.end()}));
  for (Holder& holder : now) {
    // A process that only has it open isn't hit; but a file that the kernel holds may be mapped
    // through it.
    if (holder.kernel.empty()) holder.open_files.clear();
  }
  std::erase_if(now, [](const Holder& holder) {
    return holder.mappings.empty() && holder.open_files.empty();
  });
  join_looks(report_.holders, std::move(now));
  fates_.watch(report_.holders);
  revoke_.count_present(report_.holders, /*keep=*/true);
}

FailureReport RangeFailure::take_report() {
  name_files();
  fates_.tell(report_.holders);
  return std::move(report_);
}

// One event per contiguous range of the device.
void RangeFailure::announce(EventKind kind) {
  for (const DataRange& range : bad_) {
    const uint64_t seq = ports_.events.publish(kind, report_.name_of_namespace, range);
    if (report_.seq == 0) report_.seq = seq;
  }
}

void RangeFailure::ask() {
  // Asks all before waiting for any: the total time is the slowest answer's, not the sum.
  struct Question {
    uint64_t ino;
    Device& device;
    MapperEvents::Asked asked;
  };
  std::vector<Question> questions;
  for (const auto& [ino, device] : devices_) {
    for (const FileRange& range : failed_.ranges(ino)) {
      questions.push_back(
          {ino, *device, device->handles().events().ask(ino, range, report_.seq, time_)});
    }
  }
  for (const Question& question : questions) {
    for (const FileRange& range : question.device.handles().events().collect(question.asked)) {
      handled_.add(question.device, question.ino, range);
    }
  }
  // Handled ranges may be good again; those that are still bad are revoked all the same.
  for (const uint64_t ino : handled_.files()) {
    for (const FileRange& range : handled_.ranges(ino)) revoke_.erase(ino, range);
    for (const FileRange& range : still_bad(ino)) revoke_.add(*devices_.at(ino), ino, range);
  }
}

// The parts of the handled ranges that are still bad.
std::vector<FileRange> RangeFailure::still_bad(uint64_t ino) const {
  std::vector<FileRange> bad;
  const auto request =
      devices_.at(ino)->admit(Admission::kRequest, {.what = "TAKEOVER", .ino = ino});
  if (!request) return handled_.ranges(ino);
  for (const FailedPart& part : parts_) {
    if (part.ino != ino || part.is_metadata) continue;
    for (const FileRange& handled : handled_.ranges(ino, part.file)) {
      const DataRange data = translate(handled, part.file, part.data);
      for (const DataRange& left : request->media().bad(data)) {
        bad.push_back(translate(left, part.data, part.file));
      }
    }
  }
  return bad;
}

Result<void> RangeFailure::revoke() {
  PMEMD_TRY(revoke_.flush(ports_.kernel, kFlushFrom));
  PMEMD_ASSIGN(report_.pages_left, revoke_.revoke(ports_.kernel, report_.holders));
  if (report_.pages_left == 0) return {};
  return fail(EBUSY,
              fmt::format("{}: {} are still mapped", report_.name_of_namespace,
                          format_count(report_.pages_left, "bad page")),
              "end the processes that use them for I/O, then call again");
}

void RangeFailure::tell(EventKind kind, MapperEventKind mapper_kind) {
  name_files();
  // The span of the failure, from the first to the last byte that failed.
  const DataRange all = {report_.ranges.front().begin, report_.ranges.back().end};
  for (FailedFile& file : report_.files) {
    if (file.is_metadata) continue;
    RangeSet<FileSpace> left;
    left.insert(file.range);
    for (const FileRange& range : handled_.ranges(file.ino)) left.erase(range);
    file.is_handled = left.empty();
    for (const FileRange& range : left.ranges()) {
      file.told += devices_.at(file.ino)->handles().events().tell(
          file.ino, range, {.kind = mapper_kind, .seq = report_.seq, .time = time_});
      if (file.path.empty()) continue;
      ports_.events.publish(kind, report_.name_of_namespace, all, EventFile{file.path, range});
    }
  }
}

void RangeFailure::shut_down() {
  for (const FailedFile& file : report_.files) {
    if (!file.is_metadata) continue;
    const auto device = ports_.device_of(file.ino);
    if (!device || device->health().is_shut_down()) continue;
    if (device->settings().on_metadata == OnMetadata::kDegraded) continue;
    device->health().shut_down();
    report_.shut_down = true;
    ports_.events.publish(EventKind::kShutdown, device->record().name(),
                          {0, device->record().data_bytes()});
  }
}

// Everything after the record; the caller has been in a MustAllocate section since then. `failure`
// may have looked before the record.
Result<FailureReport> fail_ranges(RangeFailure& failure, const DataRanges& bad) {
  PMEMD_TRY(fault_failure.hit());
  PMEMD_TRY(failure.find(bad));
  failure.announce(EventKind::kPoison);
  PMEMD_TRY(fault_takeover.hit());
  failure.ask();
  failure.look();
  PMEMD_TRY(fault_revoke.hit());
  PMEMD_TRY(failure.revoke());
  PMEMD_TRY(fault_tell.hit());
  failure.tell(EventKind::kPoison, MapperEventKind::kPoison);
  failure.shut_down();
  return failure.take_report();
}

// The whole sectors that the ranges touch, merged.
Result<DataRanges> sectors_of(const Device& device, const DataRanges& ranges) {
  const std::string name = device.record().name();
  if (ranges.empty()) return fail(EINVAL, name + ": no range");
  PMEMD_TRY(device.content().check_mapped());
  PMEMD_TRY(device.memory().media_errors());
  RangeSet<DataSpace> sectors;
  for (const DataRange& range : ranges) {
    if (range.empty() || range.end > device.record().data_bytes()) {
      return fail(EINVAL, fmt::format("{}: {:#x}-{:#x} is not within its {} bytes", name,
                                      range.begin, range.end, device.record().data_bytes()));
    }
    sectors.insert(sectors_of(range));
  }
  return sectors.ranges();
}

MediaErrors::Ranges in_region(const Device& device, const DataRanges& ranges) {
  return device.record().of_namespace().all_in_region(ranges);
}

// What the platform's errors cover: all of the sectors, or the first clear unit of each.
MediaErrors::Ranges errors_of(const MediaErrors::Ranges& sectors, uint64_t clear_unit,
                              bool saturate) {
  if (saturate || clear_unit >= kSectorSize) return sectors;
  MediaErrors::Ranges errors;
  for (const RegionRange& range : sectors) {
    for (uint64_t begin = range.begin; begin < range.end; begin += kSectorSize) {
      errors.push_back(RegionRange::sized(begin, clear_unit));
    }
  }
  return errors;
}

}  // namespace

Result<void> record_errors(Device& device, const DataRanges& ranges, const InjectOptions& options) {
  PMEMD_ASSIGN(const DataRanges sectors, sectors_of(device, ranges));
  const auto there = in_region(device, sectors);
  PMEMD_ASSIGN(MediaErrors* const errors, device.memory().media_errors());
  return errors->inject(errors_of(there, device.settings().clear_unit_bytes, options.saturate),
                        options.latent ? MediaErrors::Ranges() : there);
}

Result<FailureReport> inject_error(Device& device, const DataRanges& ranges,
                                   const InjectOptions& options, const FailurePorts& ports) {
  PMEMD_ASSIGN(const DataRanges sectors, sectors_of(device, ranges));
  RangeFailure failure(device, ranges, ports);
  // After the record a touch can end a process, so the first look comes before it. If that fails,
  // the second reports the error.
  if (!options.latent && failure.find(sectors)) failure.look();
  PMEMD_TRY(fault_record.hit());
  PMEMD_TRY(record_errors(device, sectors, options));
  const MustAllocate recorded;
  if (!options.latent) return fail_ranges(failure, sectors);
  // Latent: revoke the pages, so that the next touch is a request.
  PMEMD_TRY(failure.find(sectors));
  failure.look();
  PMEMD_TRY(fault_revoke.hit());
  PMEMD_TRY(failure.revoke());
  return failure.take_report();
}

Result<FailureReport> discover_errors(Device& device, const DataRanges& ranges,
                                      const FailurePorts& ports) {
  PMEMD_ASSIGN(const DataRanges sectors, sectors_of(device, ranges));
  PMEMD_ASSIGN(MediaErrors* const errors, device.memory().media_errors());
  PMEMD_TRY(fault_record.hit());
  PMEMD_ASSIGN(const auto found, errors->discover(in_region(device, sectors)));
  const MustAllocate recorded;
  if (found.empty()) {
    return FailureReport{.name_of_namespace = device.record().name(), .ranges = ranges};
  }
  RangeFailure failure(device, ranges, ports);
  return fail_ranges(failure, device.record().of_namespace().all_in_data(found));
}

Result<void> uninject_error(Device& device, const DataRanges& ranges) {
  PMEMD_ASSIGN(const DataRanges sectors, sectors_of(device, ranges));
  PMEMD_ASSIGN(MediaErrors* const errors, device.memory().media_errors());
  return errors->uninject(in_region(device, sectors));
}

Result<uint64_t> clear_errors(Device& device, const DataRanges& ranges) {
  PMEMD_ASSIGN(const DataRanges sectors, sectors_of(device, ranges));
  const auto request = device.admit(Admission::kMedia, {.what = "CLEAR_ERROR"});
  if (!request) {
    return fail(ENXIO, device.record().name() + ": not enabled",
                "pmemctl enable-namespace " + device.record().name());
  }
  auto cleared = request->media().clear(sectors);
  if (!cleared) {
    return fail(cleared.err(),
                fmt::format("{}: its errors can't be cleared: {}", device.record().name(),
                            cleared.error().describe()),
                "call again");
  }
  return cleared;
}

Result<FailureReport> look_at_ranges(Device& device, const DataRanges& ranges,
                                     const FailurePorts& ports) {
  PMEMD_ASSIGN(const DataRanges sectors, sectors_of(device, ranges));
  RangeFailure failure(device, ranges, ports);
  PMEMD_TRY(failure.find(sectors));
  failure.look();
  return failure.take_report();
}

void tell_cleared(Device& device, const DataRanges& ranges, const FailurePorts& ports) {
  if (ranges.empty()) return;
  RangeFailure failure(device, ranges, ports);
  if (!failure.find(ranges)) return;  // disabled meanwhile: nobody uses it
  failure.announce(EventKind::kCleared);
  failure.tell(EventKind::kCleared, MapperEventKind::kCleared);
}

}  // namespace pmemd
