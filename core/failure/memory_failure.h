// What happens when memory of a device fails: who is asked, in what order, and what each may say.
//
//   pfn_to_online_page() → get_dev_pagemap() → pgmap_pfn_valid() → ops.memory_failure(range)
//   → the last resort → put_dev_pagemap()
//
// The outcome is a list of file ranges; who has called revokes and tells them.
//
// Invariants:
//  1. Every reference taken here is put on every path; a caller's page reference
//  (kMfCountIncreased)
//     as well.
//  2. A range is handed on whole: one call for each pagemap that it touches, however long it is.
//
// Thread contract: any thread that serves no requests. Nothing is called with a lock held.
// Models: mm/memory-failure.c memory_failure_dev_pagemap(), mf_generic_kill_procs(),
// soft_offline_page() @v6.12; differs: a range instead of a page.
#pragma once

#include "core/base/error.h"
#include "core/failure/dax_device.h"
#include "core/pagemap/pagemap_registry.h"

namespace pmemd {

// What of `range` belongs to whom is added to `parts`, by the holders or, where these can't tell,
// by the last resort.
// ENXIO: a page of it belongs to no device, or to one that is dying; is metadata (the info block,
// the page structs); or is private or coherent memory, which nobody maps. EINVAL: empty, or not
// whole pages. EBUSY: System RAM, which isn't ours to poison. After an error nothing was added.
// `held`: with kMfCountIncreased, the caller's reference of the page; put in any case.
Result<void> memory_failure(PagemapRegistry& registry, PhysRange range, unsigned mf_flags,
                            FailedParts& parts, PagemapRef held = {});

// EIO: a device's page can't be migrated away. EBUSY: System RAM, which isn't ours. ENXIO: no page.
// `held`: as above.
Result<void> soft_offline_page(PagemapRegistry& registry, Pfn pfn, PagemapRef held = {});

}  // namespace pmemd
