#include "core/pagemap/reference_table.h"

#include <algorithm>

namespace pmemd {

std::string_view to_string(ReferenceKind kind) {
  switch (kind) {
    case ReferenceKind::kLease:
      return "lease";
    case ReferenceKind::kHandle:
      return "handle";
    case ReferenceKind::kMapping:
      return "mapping";
    case ReferenceKind::kPin:
      return "pin";
    case ReferenceKind::kRequest:
      return "request";
  }
  return "unknown";
}

ReferenceTable::Counts ReferenceTable::counts() const {
  const ClaimTable::Counts claims = claims_.counts();
  Counts counts{};
  counts[static_cast<size_t>(ReferenceKind::kLease)] = leases_.totals().ranges;
  counts[static_cast<size_t>(ReferenceKind::kHandle)] = claims.handles;
  counts[static_cast<size_t>(ReferenceKind::kMapping)] = claims.mappings;
  counts[static_cast<size_t>(ReferenceKind::kPin)] = claims.pins;
  counts[static_cast<size_t>(ReferenceKind::kRequest)] = requests_.list().size();
  return counts;
}

uint64_t ReferenceTable::held() const { return leases_.totals().ranges + claims_.counts().pins; }

ReferenceTable::List ReferenceTable::list(size_t limit) const {
  List list{.references = requests_.list()};
  // By kind from the last to the first, then as they came.
  auto claims = claims_.list();
  std::ranges::stable_sort(claims, std::ranges::greater(), &Reference::kind);
  list.references.insert(list.references.end(), claims.begin(), claims.end());
  if (list.references.size() > limit) {
    list.omitted = list.references.size() - limit;
    list.references.resize(limit);
  }
  list.omitted += leases_.append_to(list.references, limit);
  return list;
}

}  // namespace pmemd
