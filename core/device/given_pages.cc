#include "core/device/given_pages.h"

#include "core/device/p2p_pool.h"

namespace pmemd {

Result<uint64_t> GivenPages::migrate_to_device(FileRange /*range*/,
                                               const std::function<Result<void>()>& /*take_away*/) {
  return fail(ENOTTY);
}

Result<FileRange> GivenPages::alloc(uint64_t /*handle*/, pid_t /*pid*/, uint64_t /*length*/,
                                    UserBudget::Charge /*charge*/) {
  return fail(ENOTTY);
}

Result<void> GivenPages::begin_return(uint64_t /*handle*/, uint64_t /*offset*/) {
  return fail(ENOTTY);
}

std::vector<P2pBuffer> GivenPages::returning() const { return {}; }

Result<void> GivenPages::finish_return(uint64_t /*id*/) { return {}; }

}  // namespace pmemd
