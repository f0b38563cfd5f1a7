#include "core/removal/p2p_return.h"

#include <utility>

#include "core/device/p2p_pool.h"
#include "core/removal/file_ranges.h"

namespace pmemd {
namespace {

// The lease of the range stays, as an upper bound: another buffer may already have the range.
Result<void> finish(P2pPool& pool, const std::vector<P2pBuffer>& buffers) {
  Result<void> first_error;
  for (const P2pBuffer& buffer : buffers) {
    auto finished = pool.finish_return(buffer.id);
    if (!finished && first_error) first_error = std::move(finished);
  }
  return first_error;
}

}  // namespace

Result<void> return_buffers(Device& device, KernelPort& kernel, Deadline deadline) {
  P2pPool* const pool = device.content().p2p();
  if (pool == nullptr) return {};
  const auto buffers = pool->returning();
  if (buffers.empty()) return {};
  FileRanges ranges;
  for (const P2pBuffer& buffer : buffers) ranges.add(device, device.root_ino(), buffer.range);
  PMEMD_TRY(ranges.inval(kernel));
  // The inval doesn't wait for direct READs.
  PMEMD_TRY(device.wait_requests(deadline));
  return finish(*pool, buffers);
}

Result<void> zero_returned_buffers(Device& device) {
  P2pPool* const pool = device.content().p2p();
  return pool == nullptr ? Result<void>() : finish(*pool, pool->returning());
}

}  // namespace pmemd
