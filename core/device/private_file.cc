#include "core/device/private_file.h"

#include <algorithm>
#include <utility>

#include "core/base/units.h"
#include "core/device/device.h"

namespace pmemd {

int PrivateFile::refusal(Admission access, const RequestOrigin& origin) const {
  const bool is_data =
      access == Admission::kRead || access == Admission::kWrite || access == Admission::kWriteback;
  if (access == Admission::kMigrate) return shown() != nullptr ? 0 : ENOTTY;
  if (!is_data) return VolatileFile::refusal(access, origin);
  return shown() != nullptr ? 0 : gone_errno();
}

// Copies: the page may migrate to the device before the reply leaves.
Result<ReadBytes> PrivateFile::read(const Request& /*request*/, uint64_t /*ino*/, FileRange range,
                                    Media::Reader /*reader*/, Atime /*atime*/) {
  range = within_file(range);
  ReadBytes bytes{.parts = {}, .may_read_ahead = false};
  bytes.copy.resize(range.length());
  PMEMD_TRY(shown()->read(range, bytes.copy));
  if (!bytes.copy.empty()) bytes.parts.push_back({bytes.copy.data(), bytes.copy.size()});
  return bytes;
}

Result<size_t> PrivateFile::write(const Request& /*request*/, uint64_t /*ino*/, uint64_t offset,
                                  std::span<const std::byte> data, Media::Writer writer) {
  using Origin = PrivateMemory::Origin;
  const FileRange range = within_file(FileRange::sized(offset, data.size()));
  if (range.empty()) return fail(ENOSPC);
  PMEMD_TRY(
      shown()->write(offset, data.first(range.length()),
                     writer == Media::Writer::kWriteback ? Origin::kWriteback : Origin::kProgram));
  return range.length();
}

// Its bytes lie in system memory.
Result<DeviceContent::Extents> PrivateFile::extents(const Request& /*request*/, uint64_t /*ino*/) {
  return Extents();
}

Result<void> PrivateFile::check_mapped() const {
  return fail(ENXIO, device_.record().name() + ": private memory: no program maps it");
}

DevPagemapOps PrivateFile::ops() {
  return {.page_free = [this](PhysRange pages) { memory_->page_free(pages); },
          .migrate_to_ram = [this](PhysRange pages) { return memory_->migrate_to_ram(pages); }};
}

uint64_t PrivateFile::held() const {
  const PrivateMemory* const memory = shown();
  return memory != nullptr ? memory->counts().device_pages : 0;
}

// Listed after all others.
void PrivateFile::add_references(ReferenceTable::List& list, size_t limit,
                                 const std::optional<ReferenceFilter>& only) const {
  const PrivateMemory* const memory = shown();
  if (memory == nullptr) return;
  uint64_t& pages = list.counts.at(static_cast<size_t>(ReferenceKind::kPage));
  for (const FileRange range : memory->device_ranges(SIZE_MAX)) {
    const Reference page{.kind = ReferenceKind::kPage, .ino = device_.root_ino(), .range = range};
    if (only && !only->matches(page)) continue;
    list.references.push_back(page);
    pages += range.length() / kPageSize;
  }
  list.keep(limit);
}

// core/device/private_memory.h explains the order.
Result<uint64_t> PrivateFile::migrate_to_device(FileRange range,
                                                const std::function<Result<void>()>& take_away) {
  PrivateMemory& memory = *shown();
  PMEMD_ASSIGN(auto migration, memory.begin_migrate(range));
  PMEMD_TRY(take_away());
  return memory.finish_migrate(std::move(migration));
}

Result<uint64_t> PrivateFile::migrate_to_ram(Deadline deadline) {
  if (!memory_) return 0;
  return memory_->migrate_all_to_ram(deadline);
}

Result<void> PrivateFile::prepare() {
  if (memory_) return {};
  PMEMD_ASSIGN(ram_, SystemMemory::create(size_bytes()));
  memory_ = std::make_unique<PrivateMemory>(device_.record().name(), size_bytes(), *ram_);
  shown_.store(memory_.get(), std::memory_order_release);
  return {};
}

void PrivateFile::attach_memory(DevPagemap& pagemap, ByteStore& store) {
  memory_->attach(pagemap, store);
}

void PrivateFile::detach_memory() { memory_->detach(); }

}  // namespace pmemd
