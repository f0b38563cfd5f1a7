// What became of the holders that several looks have found, one after the other.
//
// A removal or a failure ends those it hits quickly: whoever looks only afterwards doesn't find
// them. So each look is joined to those before it, and the processes are watched until the report.
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

// Adds what a look has found `now` to what earlier looks have found, one Holder a process. Who
// holds something still has what the last look has seen. Who doesn't has let go, and keeps what was
// last seen; also who has a file open still, but has unmapped it.
void join_looks(std::vector<Holder>& all, std::vector<Holder> now);

// Watches processes by pidfds, so that a pid that passes to another doesn't mislead.
class ProcessFates {
 public:
  // As soon as a look has found them.
  void watch(const std::vector<Holder>& holders);
  // Says of each holder that was watched whether its process has ended, and how, where the kernel
  // tells: of a zombie, and since Linux 6.15 of every process.
  void tell(std::vector<Holder>& holders) const;

 private:
  std::map<std::pair<pid_t, uint64_t>, UniqueFd> watched_;  // by pid and start; empty: it had ended
};

}  // namespace pmemd
