// What happens when memory of a device fails: which functions are asked, in this order.
//
//   1. pfn_to_online_page()
//   2. get_dev_pagemap()
//   3. pgmap_pfn_valid()
//   4. ops.memory_failure(ranges)
//   5. the last resort, if the ops can't tell
//   6. put_dev_pagemap()
//
// The result is a list of file ranges; the caller revokes them and tells their mappers.
//
// Invariants:
//  1. Every reference taken here is put on every path; a caller's page reference, too.
//  2. Ranges are passed on together: one call for each run of consecutive ranges in one pagemap,
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

// Adds to `parts` the owners' parts of `ranges`, in the order of `ranges`: the holders add them, or
// the last resort, if the holders can't tell.
// ENXIO: a page of them belongs to no device, or to one that is dying; is metadata (the info block,
// the page structs); or is private or coherent memory, which nobody maps. EINVAL: a range is empty,
// or not whole pages. EBUSY: System RAM, which isn't ours to poison. After an error nothing is
// added. `held`: with kMfCountIncreased, the caller's reference of the page; put in any case.
Result<void> memory_failure(PagemapRegistry& registry, const PhysRanges& ranges, unsigned mf_flags,
                            FailedParts& parts, PagemapRef held = {});

// EIO: a device's page can't be migrated away. EBUSY: System RAM, which isn't ours. ENXIO: no page.
// `held`: as above.
Result<void> soft_offline_page(PagemapRegistry& registry, Pfn pfn, PagemapRef held = {});

}  // namespace pmemd
