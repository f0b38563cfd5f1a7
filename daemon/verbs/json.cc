#include "daemon/verbs/json.h"

#include <fmt/format.h>

namespace pmemd {
namespace {

Json holders_to_json(const RemovalReport& report) {
  Json holders = Json::array();
  for (const Holder& holder : report.holders) {
    holders.push_back(to_json(holder, report.name_of_namespace, report.hits_mappings));
  }
  return holders;
}

}  // namespace

Json to_json(const RegionRecord& region, const Pool::Available& available) {
  return {{"dev", region.name()},
          {"size", region.size_bytes},
          {"align", kSubsectionSize},
          {"available_size", available.total_bytes},
          {"max_available_extent", available.max_extent_bytes},
          {"type", "pmem"},
          {"persistence_domain", "unknown"},
          {"base", region.base_address},
          {"sparse", region.reservation == Reservation::kSparse}};
}

namespace {

// Legs that aren't enabled, through all layers.
void add_missing(const Device& volume, Json& missing) {
  for (const auto& leg : volume.memory().legs()) {
    if (leg->state() != Device::State::kLive) {
      missing.push_back(leg->record().name());
    } else {
      add_missing(*leg, missing);
    }
  }
}

}  // namespace

Json volume_to_json(const Device& device, const Pool& pool) {
  const VolumeRecord& record = device.record().of_volume();
  Json json = {{"dev", record.name()},
               {"type", to_string(record.table.type())},
               {"size", record.data_bytes()},
               {"uuid", record.uuid}};
  if (record.table.type() == VolumeType::kStriped) json["chunk"] = record.table.chunk_bytes();
  if (device.is_shown()) json["blockdev"] = record.device_name();
  if (device.state() != Device::State::kLive) json["state"] = "disabled";
  json["legs"] = Json::array();
  for (const auto& leg : device.memory().legs()) json["legs"].push_back(leg->record().name());
  Json missing = Json::array();
  add_missing(device, missing);
  if (!missing.empty()) json["missing"] = std::move(missing);
  if (const auto above = pool.volume_of(record.serial)) json["volume"] = above->name();
  return json;
}

Json to_json(const Device& device, const Pool& pool) {
  const NamespaceRecord& record = device.record().of_namespace();
  Json json = {{"dev", record.name()},
               {"mode", to_string(record.mode)},
               {"map", "dev"},
               {"size", record.data_bytes()},
               {"uuid", record.uuid}};
  const bool is_block = device.content().root_type() == S_IFDIR;
  if (is_block) json["sector_size"] = kSectorSize;
  json["align"] = record.align;
  if (device.is_shown()) {
    json[is_block ? "blockdev" : "chardev"] = record.device_name();
  }
  if (device.state() != Device::State::kLive) json["state"] = "disabled";
  json["region"] = fmt::format("region{}", record.region);
  if (const auto volume = pool.volume_of(record.serial)) json["volume"] = volume->name();
  return json;
}

std::string_view state_of(const Device& device) {
  switch (device.state()) {
    case Device::State::kLive:
      return "enabled";
    case Device::State::kDying:
    case Device::State::kDead:
      return "dying";
    case Device::State::kDisabled:
      return "disabled";
  }
  return "unknown";
}

Json to_json(const Holder& holder, const std::string& name_of_namespace, bool hit) {
  Json mappings = Json::array();
  for (const Mapping& mapping : holder.mappings) {
    mappings.push_back({{"namespace", name_of_namespace},
                        {"file", mapping.path},
                        {"offset", mapping.range.begin},
                        {"length", mapping.range.length()},
                        {"address", mapping.addresses.begin},
                        {"pages_present", mapping.pages_present},
                        {"private", mapping.is_private}});
  }
  Json files = Json::array();
  for (const OpenFile& file : holder.open_files) {
    files.push_back({{"namespace", name_of_namespace}, {"file", file.path}});
    if (file.fd >= 0) files.back()["fd"] = file.fd;
  }
  Json json = {{"pid", holder.pid},
               {"comm", holder.comm},
               {"uid", holder.uid},
               {"mappings", std::move(mappings)},
               {"open_files", std::move(files)}};
  if (!holder.kernel.empty()) json["kernel"] = holder.kernel;
  if (holder.fate == Holder::Fate::kLetGo) json["became"] = "let go";
  if (holder.fate == Holder::Fate::kEnded) json["became"] = "ended";
  if (!holder.ended_by.empty()) json["ended_by"] = holder.ended_by;
  if (hit && holder.fate == Holder::Fate::kHolds && !holder.mappings.empty()) {
    json["signal"] = "SIGBUS";
    json["code"] = "BUS_ADRERR";
  }
  return json;
}

Json to_json(const RemovalReport& report) {
  Json steps = Json::array();
  for (const RemovalStep& step : report.steps) {
    steps.push_back({{"name", step.name}, {"us", step.duration.count()}});
  }
  return {{"namespace", report.name_of_namespace},
          {"state", report.disabled ? "disabled" : "enabled"},
          {"dry_run", report.dry_run},
          {"surprise", report.surprise},
          {"hits_mappings", report.hits_mappings},
          {"holders", holders_to_json(report)},
          {"killed", report.killed},
          {"lent_ranges", report.lent_ranges},
          {"lent_bytes", report.lent_bytes},
          {"files_flushed", report.files_flushed},
          {"files_revoked", report.files_revoked},
          {"pages_left", report.pages_left},
          {"lost_writebacks", report.lost_writebacks},
          {"requests_left", report.requests_left},
          {"pins_taken", report.pins_taken},
          {"buffers_taken", report.buffers_taken},
          {"pages_migrated", report.pages_migrated},
          {"abandoned", report.abandoned},
          {"steps", std::move(steps)}};
}

Json to_json(const Reference& reference, const std::string& path) {
  Json json = {{"kind", to_string(reference.kind)}};
  if (reference.pid != 0) {
    json["pid"] = reference.pid;
    json["comm"] = comm_of(reference.pid);
  }
  json["inode"] = reference.ino;
  if (!path.empty()) json["file"] = path;
  json["offset"] = reference.range.begin;
  json["length"] = reference.range.length();
  if (reference.kind == ReferenceKind::kMapping) json["address"] = reference.address;
  if (!reference.what.empty()) json["what"] = reference.what;
  if (reference.since.time_since_epoch().count() != 0) json["since"] = to_text(reference.since);
  return json;
}

Json in_the_way_to_json(const std::vector<RemovalReport>& reports) {
  Json list = Json::array();
  for (const RemovalReport& report : reports) {
    auto paths = paths_of(report.holders);
    for (const Reference& reference : report.in_the_way) {
      list.push_back(to_json(reference, paths[reference.ino]));
    }
  }
  return list;
}

}  // namespace pmemd
