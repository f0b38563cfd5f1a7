#include "core/removal/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "core/base/units.h"
#include "core/pool/schema.h"
#include "core/removal/fates.h"

namespace pmemd {
namespace {

constexpr size_t kMaxReported = 1000;  // of requests and pins in a report
constexpr size_t kMaxNamed = 8;        // of processes in a message

}  // namespace

RemovalReport start_report(const Device& device) {
  return {.name_of_namespace = device.record().name(),
          .hits_mappings = device.content().check_mapped().has_value()};
}

void name_files(std::vector<Holder>& holders, const std::vector<const Device*>& devices) {
  std::map<uint64_t, std::map<uint64_t, std::string>> hints;  // by serial, then by inode
  for (const auto& [ino, path] : paths_of(holders)) hints[inode_serial(ino)].emplace(ino, path);
  std::map<uint64_t, std::string> paths;
  for (const Device* device : devices) {
    const auto of_device = hints.find(device->record().serial);
    if (of_device != hints.end()) paths.merge(device->content().paths(of_device->second));
  }
  const auto name = [&](auto& held) {
    const auto path = paths.find(held.ino);
    if (path != paths.end()) held.path = path->second;
  };
  for (Holder& holder : holders) {
    std::ranges::for_each(holder.mappings, name);
    std::ranges::for_each(holder.open_files, name);
  }
}

std::unexpected<Error> busy(const RemovalReport& report, const Device& device) {
  const std::string& name = report.name_of_namespace;
  std::set<std::string> of_kernel;
  size_t processes = 0;
  for (const Holder& holder : report.holders) {
    if (holder.kernel.empty()) {
      ++processes;
    } else {
      of_kernel.insert(holder.kernel);
    }
  }
  if (report.holders.empty()) {
    return fail(EBUSY, fmt::format("{}: {}", name,
                                   format_count(device.claims().handle_count(), "open file")));
  }
  std::string who;
  if (processes != 0) who = fmt::format("{} process{}", processes, processes == 1 ? "" : "es");
  for (const std::string& how : of_kernel) who += (who.empty() ? "" : ", ") + how;
  if (of_kernel.empty()) return fail(EBUSY, fmt::format("{}: in use by {}", name, who));
  return fail(
      EBUSY, fmt::format("{}: in use by {}", name, who),
      "detach what the kernel has (losetup --detach, umount), or take it away with --force");
}

void note_in_the_way(RemovalReport& report, const Device& device) {
  report.in_the_way = device.references().list(kMaxReported).references;
  std::erase_if(report.in_the_way, [](const Reference& reference) {
    return reference.kind != ReferenceKind::kRequest && reference.kind != ReferenceKind::kPin &&
           reference.kind != ReferenceKind::kBuffer;
  });
}

std::unexpected<Error> held_up(RemovalReport& report, const Device& device,
                               const std::string& what) {
  std::set<std::string> who;
  note_in_the_way(report, device);
  for (const Reference& reference : report.in_the_way) {
    if (who.size() < kMaxNamed) who.insert(process_name(reference.pid));
  }
  report.unaccounted = device.references().unaccounted();
  std::string of_whom;
  for (const std::string& name : who) of_whom += (of_whom.empty() ? ", of " : ", ") + name;
  return fail(
      ETIMEDOUT,
      fmt::format("{}: {} left at the deadline{}", report.name_of_namespace, what, of_whom),
      "pmemctl refs lists who holds what; wait longer with --drain-timeout, or give them up "
      "with --abandon");
}

}  // namespace pmemd
