#include "core/device/volatile_memory.h"

namespace pmemd {

VolatileMemory::VolatileMemory(const DeviceRecord& record, uint64_t ino)
    : mode_(record.mode), name_(record.name()), size_bytes_(record.data_bytes()), ino_(ino) {
  if (mode_ == NamespaceMode::kP2p) p2p_ = std::make_unique<P2pPool>(name_, size_bytes_);
}

DevPagemapOps VolatileMemory::ops() {
  if (mode_ != NamespaceMode::kPrivate) return {};
  return {.page_free = [this](PhysRange pages) { private_->page_free(pages); },
          .migrate_to_ram = [this](PhysRange pages) { return private_->migrate_to_ram(pages); }};
}

Result<void> VolatileMemory::prepare(MappedImage& image, bool clean) {
  if (is_persistent(mode_)) return {};
  if (!clean) PMEMD_TRY(image.discard(kNamespaceMetadataSize, size_bytes_));
  if (mode_ != NamespaceMode::kPrivate || private_) return {};
  PMEMD_ASSIGN(ram_, SystemMemory::create(size_bytes_));
  private_ = std::make_unique<PrivateMemory>(name_, size_bytes_, *ram_);
  shown_.store(private_.get(), std::memory_order_release);
  return {};
}

void VolatileMemory::attach(DevPagemap& pagemap, MappedImage& image) {
  if (is_persistent(mode_)) return;
  store_ = std::make_unique<ImageStore>(image, kNamespaceMetadataSize);
  if (private_) private_->attach(pagemap, *store_);
  if (p2p_) p2p_->attach(pagemap.ref(), *store_);
}

Result<void> VolatileMemory::detach(MappedImage& image) {
  if (!store_) return {};
  if (private_) private_->detach();
  if (p2p_) p2p_->detach();
  store_.reset();
  return image.discard(kNamespaceMetadataSize, size_bytes_);
}

Result<uint64_t> VolatileMemory::migrate_all_to_ram(Deadline deadline) {
  if (!private_) return 0;
  return private_->migrate_all_to_ram(deadline);
}

uint64_t VolatileMemory::held() const {
  const PrivateMemory* const memory = shown_.load(std::memory_order_acquire);
  return (memory != nullptr ? memory->counts().device_pages : 0) +
         (p2p_ ? p2p_->counts().pages : 0);
}

std::vector<Reference> VolatileMemory::buffers() const {
  std::vector<Reference> found;
  if (!p2p_) return found;
  for (const P2pBuffer& buffer : p2p_->list()) {
    found.push_back({.kind = ReferenceKind::kBuffer,
                     .id = buffer.id,
                     .pid = buffer.pid,
                     .ino = ino_,
                     .range = buffer.range,
                     .what = buffer.is_returning ? "returning" : "",
                     .since = buffer.since});
  }
  return found;
}

std::vector<Reference> VolatileMemory::pages() const {
  std::vector<Reference> found;
  const PrivateMemory* const memory = shown_.load(std::memory_order_acquire);
  if (memory == nullptr) return found;
  for (const FileRange range : memory->device_ranges(SIZE_MAX)) {
    found.push_back({.kind = ReferenceKind::kPage, .ino = ino_, .range = range});
  }
  return found;
}

void VolatileMemory::add_to(ReferenceTable::List& list, size_t limit,
                            const std::optional<ReferenceFilter>& only) const {
  const auto wanted = [&](std::vector<Reference> all) {
    if (only) std::erase_if(all, [&](const Reference& one) { return !only->matches(one); });
    return all;
  };
  auto& references = list.references;
  const auto first = wanted(buffers());
  const auto last = wanted(pages());
  references.insert(references.begin(), first.begin(), first.end());
  references.insert(references.end(), last.begin(), last.end());
  if (references.size() > limit) {
    list.omitted += references.size() - limit;
    references.resize(limit);
  }
  for (const Reference& one : first) list.add_to_counts(one);
  uint64_t& pages = list.counts.at(static_cast<size_t>(ReferenceKind::kPage));
  for (const Reference& one : last) pages += one.range.length() / kPageSize;
}

}  // namespace pmemd
