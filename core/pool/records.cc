#include "core/pool/records.h"

#include <fmt/format.h>
#include <uuid/uuid.h>

namespace pmemd {

std::string make_uuid() {
  uuid_t bytes;
  uuid_generate_random(bytes);
  char text[UUID_STR_LEN];
  uuid_unparse_lower(bytes, text);
  return text;
}

std::string_view to_string(NamespaceMode mode) {
  switch (mode) {
    case NamespaceMode::kFsDax:
      return "fsdax";
    case NamespaceMode::kDevDax:
      return "devdax";
    case NamespaceMode::kPrivate:
      return "private";
    case NamespaceMode::kP2p:
      return "p2p";
  }
  return "unknown";
}

Result<NamespaceMode> parse_namespace_mode(std::string_view text) {
  for (const NamespaceMode mode : kNamespaceModes) {
    if (text == to_string(mode)) return mode;
  }
  return fail(EINVAL, fmt::format("mode '{}': unknown", text), "use fsdax, devdax, private or p2p");
}

std::string RegionRecord::name() const { return fmt::format("region{}", id); }

std::string NamespaceRecord::name() const { return fmt::format("namespace{}.{}", region, id); }

// As the kernel's drivers call their devices; what they have no device for, by what it is.
// Models: drivers/nvdimm/namespace_devs.c nvdimm_namespace_disk_name() @v6.12
std::string NamespaceRecord::device_name() const {
  switch (mode) {
    case NamespaceMode::kFsDax:
      return id == 0 ? fmt::format("pmem{}", region) : fmt::format("pmem{}.{}", region, id);
    case NamespaceMode::kDevDax:
      return fmt::format("dax{}.{}", region, id);
    case NamespaceMode::kPrivate:
      return fmt::format("hmm{}.{}", region, id);
    case NamespaceMode::kP2p:
      return fmt::format("p2p{}.{}", region, id);
  }
  return {};
}

std::vector<RegionRange> NamespaceRecord::all_in_region(const std::vector<DataRange>& data) const {
  std::vector<RegionRange> there;
  there.reserve(data.size());
  for (const DataRange& part : data) there.push_back(in_region(part));
  return there;
}

std::vector<DataRange> NamespaceRecord::all_in_data(const std::vector<RegionRange>& parts) const {
  std::vector<DataRange> data;
  data.reserve(parts.size());
  for (const RegionRange& part : parts) data.push_back(in_data(part));
  return data;
}

std::string VolumeRecord::name() const { return fmt::format("volume{}", id); }

std::string VolumeRecord::device_name() const { return fmt::format("vol{}", id); }

}  // namespace pmemd
