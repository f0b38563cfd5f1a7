// All that stands on a device, in one place: what the page cache was lent, what processes have
// opened, mapped and pinned, and the requests in flight.
//
// Three tables, since they change at three rates: a lease with the first touch of a range, a claim
// with a system call, a request with each request. Memory grows with distinct ranges, with open
// files and with what processes asked for; never with pages.
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

  // How many hold a reference of the pagemap: its count, if nothing leaks.
  uint64_t held() const;

  struct List {
    std::vector<Reference> references;  // requests, pins, takeovers, mappings, handles, leases
    std::array<uint64_t, kReferenceKinds> counts = {};  // of each kind, those omitted too
    // The same by holder (leases and private pages are nobody's).
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
  // At most `limit` of them, leases are left out first. `only`: not those of other ranges.
  List list(size_t limit, const std::optional<ReferenceFilter>& only = std::nullopt) const;

 private:
  LeaseTable leases_;
  ClaimTable claims_;
  RequestTable requests_;
};

}  // namespace pmemd
