#include "daemon/fuse/device_data.h"

#include <algorithm>

namespace pmemd {
namespace {

FileRange within_file(const Device::Request& request, FileRange range) {
  return range.intersect({0, request.device().record().data_bytes()});
}

}  // namespace

Result<std::vector<iovec>> read_device_file(const Device::Request& request, FileRange range,
                                            Media::Reader reader) {
  range = within_file(request, range);
  if (range.empty()) return std::vector<iovec>();
  // All of it or nothing: the kernel asks again, page by page.
  if (request.device().is_p2p() && !request.p2p().contains(range)) return fail(EIO);
  std::vector<iovec> parts;
  // The one file is the whole data area.
  PMEMD_TRY(request.media().view({range.begin, range.end}, reader, parts));
  return parts;
}

void reply_private_read(fuse_req_t req, const Device::Request& request, FileRange range) {
  range = within_file(request, range);
  // A copy: the page may go to the device before the reply has left.
  std::vector<std::byte> bytes(range.length());
  if (const auto read = request.memory().read(range, bytes); !read) {
    return reply_error(req, read.err());
  }
  answer(fuse_reply_buf, req, reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

Result<size_t> write_device_file(const Device::Request& request, uint64_t offset,
                                 std::span<const std::byte> data, bool is_writeback) {
  const FileRange range = within_file(request, FileRange::sized(offset, data.size()));
  if (range.empty()) return fail(ENOSPC);
  data = data.first(range.length());
  if (request.device().is_private()) {
    using Origin = PrivateMemory::Origin;
    PMEMD_TRY(
        request.memory().write(offset, data, is_writeback ? Origin::kWriteback : Origin::kProgram));
    return data.size();
  }
  if (request.device().is_p2p() && !request.p2p().contains(range)) {
    // The inval of a returned buffer launders what was stored there: those bytes are nobody's.
    if (is_writeback) return data.size();
    return fail(EIO);
  }
  PMEMD_TRY(request.media().write(
      offset, data, is_writeback ? Media::Writer::kWriteback : Media::Writer::kProgram));
  return data.size();
}

}  // namespace pmemd
