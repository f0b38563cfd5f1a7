#include "core/device/p2p_file.h"

#include <fmt/format.h>

#include <vector>

#include "core/base/units.h"
#include "core/device/device.h"

namespace pmemd {

P2pFile::P2pFile(Device& device)
    : VolatileFile(device), pool_(device.record().name(), device.record().data_bytes()) {}

int P2pFile::refusal(Admission access, const RequestOrigin& origin) const {
  if (access == Admission::kBuffer) return 0;
  const bool is_kept = access == Admission::kRead && device_.state() == Device::State::kDying &&
                       pool_.contains(origin.range);
  return is_kept ? 0 : VolatileFile::refusal(access, origin);
}

// All or nothing: the kernel retries page by page.
Result<ReadBytes> P2pFile::read(const Request& request, uint64_t ino, FileRange range,
                                Media::Reader reader, Atime atime) {
  if (!pool_.contains(within_file(range))) return fail(EIO);
  auto bytes = VolatileFile::read(request, ino, range, reader, atime);
  if (bytes) bytes->may_read_ahead = false;
  return bytes;
}

Result<size_t> P2pFile::write(const Request& request, uint64_t ino, uint64_t offset,
                              std::span<const std::byte> data, Media::Writer writer) {
  const FileRange range = within_file(FileRange::sized(offset, data.size()));
  if (!range.empty() && !pool_.contains(range)) {
    // The inval of a returned buffer launders its dirty pages: those bytes have no owner.
    if (writer == Media::Writer::kWriteback) return range.length();
    return fail(EIO);
  }
  return VolatileFile::write(request, ino, offset, data, writer);
}

// Listed before all others.
void P2pFile::add_references(ReferenceTable::List& list, size_t limit,
                             const std::optional<ReferenceFilter>& only) const {
  std::vector<Reference> buffers;
  for (const P2pBuffer& buffer : pool_.list()) {
    const Reference reference{.kind = ReferenceKind::kBuffer,
                              .id = buffer.id,
                              .pid = buffer.pid,
                              .ino = device_.root_ino(),
                              .range = buffer.range,
                              .what = buffer.is_returning ? "returning" : "",
                              .since = buffer.since};
    if (only && !only->matches(reference)) continue;
    list.add_to_counts(reference);
    buffers.push_back(reference);
  }
  list.references.insert(list.references.begin(), buffers.begin(), buffers.end());
  list.keep(limit);
}

Result<void> P2pFile::wait_returned(Deadline deadline) {
  if (pool_.wait_returned(deadline)) return {};
  return fail(ETIMEDOUT, fmt::format("{}: {} not returned", device_.record().name(),
                                     format_count(pool_.counts().buffers, "buffer")));
}

void P2pFile::attach_memory(DevPagemap& pagemap, ByteStore& store) {
  pool_.attach(pagemap.ref(), store);
}

}  // namespace pmemd
