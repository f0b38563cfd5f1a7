// A device's identity, whether it is a namespace or a volume.
//
// Thread contract: constant after construction.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <variant>

#include "core/pool/records.h"

namespace pmemd {

class DeviceRecord {
 public:
  explicit DeviceRecord(const NamespaceRecord& record)
      : DeviceRecord(record, record.mode, record.data_bytes()) {}
  explicit DeviceRecord(const VolumeRecord& record)
      : DeviceRecord(record, NamespaceMode::kFsDax, record.data_bytes()) {}

  const uint64_t serial;  // the upper bits of its inode numbers
  const std::string uuid;
  const NamespaceMode mode;

  const std::string& name() const { return name_; }                // "namespace0.1", "volume0"
  const std::string& device_name() const { return device_name_; }  // what the mount shows
  uint64_t data_bytes() const { return data_bytes_; }

  // A volume has no region, and a namespace no legs.
  std::optional<uint32_t> region() const {
    if (is_volume()) return std::nullopt;
    return of_namespace().region;
  }
  std::span<const uint64_t> legs() const {  // their serials, in order
    if (is_volume()) return of_volume().legs;
    return {};
  }
  // What lists are sorted by: region, then id; volumes last.
  std::tuple<bool, uint32_t, uint32_t> order() const {
    if (is_volume()) return {true, 0, of_volume().id};
    return {false, of_namespace().region, of_namespace().id};
  }

  bool is_volume() const { return std::holds_alternative<VolumeRecord>(of_); }
  // Throw (our bug) if it isn't one.
  const NamespaceRecord& of_namespace() const { return std::get<NamespaceRecord>(of_); }
  const VolumeRecord& of_volume() const { return std::get<VolumeRecord>(of_); }

 private:
  template <class Record>
  DeviceRecord(const Record& record, NamespaceMode of_mode, uint64_t data_bytes)
      : serial(record.serial),
        uuid(record.uuid),
        mode(of_mode),
        of_(record),
        name_(record.name()),
        device_name_(record.device_name()),
        data_bytes_(data_bytes) {}

  std::variant<NamespaceRecord, VolumeRecord> of_;
  std::string name_;
  std::string device_name_;
  uint64_t data_bytes_;
};

}  // namespace pmemd
