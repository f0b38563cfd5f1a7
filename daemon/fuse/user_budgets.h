// How much of the daemon each user may use through the mount (docs/security.md has the table).
//
// Thread contract: as UserBudget.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/base/user_budget.h"

namespace pmemd {

struct UserBudgets {
  // `descriptors`: how many the daemon may have.
  explicit UserBudgets(uint64_t descriptors) : processes(process_limits(descriptors)) {}

  // Open files and directories: EMFILE, as inotify_init(2) gives for a user's limit.
  UserBudget handles{{.per_user = 65'536, .users = 917'504, .total = 1'048'576}};
  // Pins, registered mappings, takeovers and buffers: ENOMEM, as RLIMIT_MEMLOCK does for pages that
  // are pinned for I/O.
  UserBudget claims{{.per_user = 8'192, .users = 57'344, .total = 65'536}};
  // Processes that have, or had, a claim, until they end; each costs the daemon a descriptor.
  // ENOMEM, too.
  UserBudget processes;
  // Requests left to the work queue, until they are answered: EAGAIN.
  UserBudget work{{.per_user = 64, .users = 3'072, .total = 4'096}};

 private:
  static UserBudget::Limits process_limits(uint64_t descriptors) {
    const uint64_t total = std::min<uint64_t>(descriptors / 4, 16'384);
    return {.per_user = std::min<uint64_t>(total / 4, 1'024),
            .users = total - total / 4,
            .total = total};
  }
};

}  // namespace pmemd
