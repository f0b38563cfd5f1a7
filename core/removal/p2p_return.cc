#include "core/removal/p2p_return.h"

#include <utility>

#include "core/device/p2p_pool.h"
#include "core/removal/file_ranges.h"

namespace pmemd {
namespace {

// The lease of the range stays, as an upper bound: another buffer may already have the range.
Result<void> finish(GivenPages& given, const std::vector<P2pBuffer>& buffers) {
  Result<void> first_error;
  for (const P2pBuffer& buffer : buffers) {
    auto finished = given.finish_return(buffer.id);
    if (!finished && first_error) first_error = std::move(finished);
  }
  return first_error;
}

}  // namespace

Result<void> return_buffers(Device& device, KernelPort& kernel, Deadline deadline) {
  GivenPages& given = device.content().given();
  const auto buffers = given.returning();
  if (buffers.empty()) return {};
  FileRanges ranges;
  for (const P2pBuffer& buffer : buffers) ranges.add(device, device.root_ino(), buffer.range);
  PMEMD_TRY(ranges.inval(kernel));
  // The inval doesn't wait for direct READs.
  PMEMD_TRY(device.wait_requests(deadline));
  return finish(given, buffers);
}

Result<void> zero_returned_buffers(Device& device) {
  GivenPages& given = device.content().given();
  return finish(given, given.returning());
}

}  // namespace pmemd
