// All uses of a device, in one place: what was lent to the page cache, what processes have opened,
// mapped and pinned, and the requests in flight.
//
// There are three tables because they change at three rates: leases at the first touch of a range,
// claims with a system call, requests with each request. Memory grows with distinct ranges, open
// files and claims; never with pages.
//
// Thread contract: any thread.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "core/references/claim_table.h"
#include "core/references/lease_table.h"
#include "core/references/reference.h"
#include "core/references/request_table.h"

namespace pmemd {

class ReferenceTable {
 public:
  explicit ReferenceTable(PercpuRef& ref) : leases_(ref) {}

  LeaseTable& leases() { return leases_; }
  const LeaseTable& leases() const { return leases_; }
  ClaimTable& claims() { return claims_; }
  const ClaimTable& claims() const { return claims_; }
  RequestTable& requests() { return requests_; }

  // How many of them hold a reference of the pagemap: equals its count if nothing leaks.
  uint64_t held() const;

  struct List {
    std::vector<Reference> references;  // requests, pins, takeovers, mappings, handles, leases
    std::array<uint64_t, kReferenceKinds> counts = {};  // of each kind, including those omitted
    // The same by holder (leases and private pages have no holder).
    std::map<pid_t, std::array<uint64_t, kReferenceKinds>> by_holder = {};
    uint64_t omitted = 0;

    // A reference that somebody holds.
    void add_to_counts(const Reference& reference) {
      const auto kind = static_cast<size_t>(reference.kind);
      ++counts.at(kind);
      ++by_holder[reference.pid].at(kind);
    }
    // Leaves out what is behind the first `limit`.
    void keep(size_t limit) {
      if (references.size() <= limit) return;
      omitted += references.size() - limit;
      references.resize(limit);
    }
    uint64_t count(ReferenceKind kind) const { return counts.at(static_cast<size_t>(kind)); }
  };
  // At most `limit` of them; leases are left out first. `only`: just those that match.
  List list(size_t limit, const std::optional<ReferenceFilter>& only = std::nullopt) const;

 private:
  LeaseTable leases_;
  ClaimTable claims_;
  RequestTable requests_;
};

}  // namespace pmemd
