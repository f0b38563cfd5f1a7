#include "core/references/reference_table.h"

#include <algorithm>
#include <utility>

namespace pmemd {

std::string_view to_string(ReferenceKind kind) {
  switch (kind) {
    case ReferenceKind::kLease:
      return "lease";
    case ReferenceKind::kHandle:
      return "handle";
    case ReferenceKind::kMapping:
      return "mapping";
    case ReferenceKind::kTakeover:
      return "takeover";
    case ReferenceKind::kPin:
      return "pin";
    case ReferenceKind::kRequest:
      return "request";
    case ReferenceKind::kBuffer:
      return "buffer";
    case ReferenceKind::kPage:
      return "page";
    case ReferenceKind::kVolume:
      return "volume";
  }
  return "unknown";
}

uint64_t ReferenceTable::held() const { return leases_.totals().ranges + claims_.counts().pins; }

ReferenceTable::List ReferenceTable::list(size_t limit,
                                          const std::optional<ReferenceFilter>& only) const {
  List list{.references = requests_.list()};
  // By kind from the last to the first, then in the order in which they came.
  auto claims = claims_.list();
  std::ranges::sort(claims, {}, [](const Reference& one) {
    return std::pair(-static_cast<int>(one.kind), one.id);
  });
  list.references.insert(list.references.end(), claims.begin(), claims.end());
  if (only) {
    std::erase_if(list.references, [&](const Reference& one) { return !only->matches(one); });
  }
  for (const Reference& one : list.references) list.add_to_counts(one);
  list.keep(limit);
  const size_t before = list.references.size();
  const uint64_t leases = leases_.append_to(list.references, limit, only);
  list.counts.at(static_cast<size_t>(ReferenceKind::kLease)) = leases;
  list.omitted += leases - (list.references.size() - before);
  return list;
}

}  // namespace pmemd
