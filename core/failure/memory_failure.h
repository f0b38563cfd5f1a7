// What happens when memory of a device fails: who is asked, in what order, and what each may say.
//
//   pfn_to_online_page() → get_dev_pagemap() → pgmap_pfn_valid() → ops.memory_failure(ranges)
//   → the last resort → put_dev_pagemap()
//
// The outcome is a list of file ranges; who has called revokes and tells them.
//
// Invariants:
//  1. Every reference taken here is put on every path; a caller's page reference, too.
//  2. Ranges are handed on together: one call for each pagemap that they touch one after the other,
//     however many and however long they are.
//
// Thread contract: any thread that serves no requests. Nothing is called with a lock held.
// Models: mm/memory-failure.c memory_failure_dev_pagemap(), mf_generic_kill_procs(),
// soft_offline_page() @v6.12; differs: ranges instead of a page.
#pragma once

#include "core/base/error.h"
#include "core/failure/dax_device.h"
#include "core/pagemap/pagemap_registry.h"

namespace pmemd {

// What of `ranges` belongs to whom is added to `parts`, in their order, by the holders or, where
// these can't tell, by the last resort.
// ENXIO: a page of them belongs to no device, or to one that is dying; is metadata (the info block,
// the page structs); or is private or coherent memory, which nobody maps. EINVAL: one is empty, or
// not whole pages. EBUSY: System RAM, which isn't ours to poison. After an error nothing was added.
// `held`: with kMfCountIncreased, the caller's reference of the page; put in any case.
Result<void> memory_failure(PagemapRegistry& registry, const PhysRanges& ranges, unsigned mf_flags,
                            FailedParts& parts, PagemapRef held = {});

// EIO: a device's page can't be migrated away. EBUSY: System RAM, which isn't ours. ENXIO: no page.
// `held`: as above.
Result<void> soft_offline_page(PagemapRegistry& registry, Pfn pfn, PagemapRef held = {});

}  // namespace pmemd
