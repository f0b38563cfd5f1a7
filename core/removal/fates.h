// The fate of the holders that several looks in a row have found.
//
// A removal or a failure quickly ends the processes that it hits: a look afterwards doesn't find
// them. So each look is joined to the earlier ones, and the processes are watched until the report.
//
// Thread contract: one thread, which serves no requests.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "core/base/unique_fd.h"
#include "core/removal/holders.h"

namespace pmemd {

// Adds what a look has found `now` to what earlier looks have found, one Holder per process. A
// process that still holds something has what the last look saw. One that doesn't has let go, and
// keeps what was seen last; so does one that has unmapped a file, but still has it open.
void join_looks(std::vector<Holder>& all, std::vector<Holder> now);

// Watches processes by pidfd, so that a reused pid doesn't mislead.
class ProcessFates {
 public:
  // Call as soon as a look has found them.
  void watch(const std::vector<Holder>& holders);
  // Notes for each watched holder whether its process has ended, and how, if the kernel tells: for
  // a zombie, and since Linux 6.15 for every process.
  void tell(std::vector<Holder>& holders) const;

 private:
  std::map<std::pair<pid_t, uint64_t>, UniqueFd> watched_;  // by pid and start; empty: it had ended
};

}  // namespace pmemd
