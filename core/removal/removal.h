// Forced removal: takes devices away from everybody who maps them.
//
//   kill → notify → unpin → migrate → flush → revoke → end → drain → release
//
// kill: no new opens; by force, the holders are looked for; no new reads, writes. notify: the event
// `pre-remove`, to the bus and to registered mappings; with a grace time, waits for the holders to
// let go. unpin: waits for pins and a p2p pool's buffers. migrate: private pages come back to
// system memory; processes keep them, and nothing of them is flushed or revoked. flush: what
// mappings stored goes to the medium (not with surprise). revoke: one ranged inval an inode; then
// the page tables of the mappers are looked at: no page of it may be left. end: with --kill, the
// mappers' processes. drain: requests in flight and references, with a deadline. release:
// everything durable, the range free; the image is unmapped behind it.
//
// Invariants:
//  1. Killed first, revoked second: a page whose READ is in flight is locked, and the inval waits
//     for it and drops it.
//  2. A stored byte is on the medium before its page is dropped, unless surprise.
//  3. After a failure at any step a device is live as before (the removal is taken back) or
//     disabled, never half. What surprise has lost stays lost.
//  4. No wait is without a deadline; one that passes ends in a report of who holds what.
//  5. Nothing that a forced removal does can end a process before it has been looked at, save one
//     that was forked, or opened a volume over a leg, behind the first look. Who was seen once is
//     in the report.
//
// Thread contract: remove_devices() from any thread that serves no requests; one call at a time
// for a device.
// Models: drivers/nvdimm/pmem.c nd_pmem_remove(), drivers/dax/super.c kill_dax(),
// fs/xfs/xfs_notify_failure.c xfs_dax_notify_failure() (pre-remove) @v6.12; differs: stale reads
// are revoked too, at once and verified, and the wait for references ends in a report.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "core/device/device.h"
#include "core/events/event.h"
#include "core/removal/kernel_port.h"
#include "core/removal/report.h"

namespace pmemd {

struct RemovalOptions {
  bool force = false;     // also when it is busy
  bool surprise = false;  // no flush: stores that were never written back are lost
  bool dry_run = false;   // report only
  bool kill = false;      // SIGKILL for the mappers, in the end; for who has pinned, first
  bool abandon = false;   // gives up pins and references that are left at the deadline
  std::chrono::milliseconds wait{0};  // not forced: how long to wait until it is idle
  // How long the holders may take to let go: to close, or to answer the event that they were told.
  std::chrono::milliseconds grace{0};
  std::chrono::milliseconds drain_timeout{10'000};  // for pins, then for requests and references
};

struct RemovalOutcome {
  std::vector<RemovalReport> reports;  // one a device, in order
  Result<void> result;
};

// Removes the devices that are enabled among `devices`: all or none, but for a failure at the
// release, which each has for itself. A volume stands before its legs. A leg whose volume isn't
// among them goes alone, by force: what of the volume's files lies on it is flushed and revoked, a
// call for each contiguous range, and the volume stays. EBUSY: in use, and not forced (holders in
// the reports), or pages that can't be taken away. ETIMEDOUT: pins, requests or references are left
// at the deadline (in the reports). ENXIO: none of them is enabled. Any other: what the kernel or
// the medium said.
RemovalOutcome remove_devices(const std::vector<Device*>& devices, const RemovalOptions& options,
                              KernelPort& kernel, EventBus& events);

}  // namespace pmemd
