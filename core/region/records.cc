#include "core/region/records.h"

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
  return mode == NamespaceMode::kFsDax ? "fsdax" : "devdax";
}

Result<NamespaceMode> parse_namespace_mode(std::string_view text) {
  for (const NamespaceMode mode : {NamespaceMode::kFsDax, NamespaceMode::kDevDax}) {
    if (text == to_string(mode)) return mode;
  }
  return fail(EINVAL, fmt::format("mode '{}': unknown", text), "use fsdax or devdax");
}

std::string RegionRecord::name() const { return fmt::format("region{}", id); }

std::string NamespaceRecord::name() const { return fmt::format("namespace{}.{}", region, id); }

// As the kernel's drivers call their devices.
// Models: drivers/nvdimm/namespace_devs.c nvdimm_namespace_disk_name() @v6.12
std::string NamespaceRecord::device_name() const {
  if (mode == NamespaceMode::kDevDax) return fmt::format("dax{}.{}", region, id);
  return id == 0 ? fmt::format("pmem{}", region) : fmt::format("pmem{}.{}", region, id);
}

}  // namespace pmemd
