// Forced removal: takes devices away from everybody who maps them.
//
//   kill → notify → unpin → migrate → flush → revoke → end → drain → release
//
// kill: refuses new opens; if forced, looks for the holders; then refuses new reads and writes.
// notify: sends the event `pre-remove` to the bus and to registered mappings; with a grace time,
// waits for the holders to let go. unpin: waits for pins and a p2p pool's buffers. migrate: brings
// private pages back to system memory; processes keep them, so they aren't flushed or revoked.
// flush: writes what mappings stored to the medium (not with surprise). revoke: one ranged inval
// per inode; then checks the mappers' page tables: no page may be left. end: with --kill, ends the
// mappers' processes. drain: waits for requests in flight and references, with a deadline. release:
// makes everything durable and frees the range; the image is unmapped after that.
//
// Invariants:
//  1. Killed first, revoked second: a page whose READ is in flight is locked, and the inval waits
//     for it and drops it.
//  2. A stored byte is on the medium before its page is dropped, unless surprise.
//  3. After a failure at any step a device is live as before (the removal is taken back) or
//     disabled, never half. What surprise has lost stays lost.
//  4. Every wait has a deadline; when it passes, a report tells who holds what.
//  5. A forced removal can't end a process before a look has seen it, except one that was forked,
//     or opened a volume over a leg, after the first look. Every process that was seen is in the
//     report.
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
  bool force = false;     // even if it is busy
  bool surprise = false;  // no flush: stores that were never written back are lost
  bool dry_run = false;   // report only
  bool kill = false;      // SIGKILL for processes with pins, first; for the mappers, in the end
  bool abandon = false;   // gives up pins and references left at the deadline
  std::chrono::milliseconds wait{0};  // not forced: how long to wait until it is idle
  // How long the holders may take to let go: to close, or to answer the event.
  std::chrono::milliseconds grace{0};
  std::chrono::milliseconds drain_timeout{10'000};  // for pins, then for requests and references
};

struct RemovalOutcome {
  std::vector<RemovalReport> reports;  // one per device, in order
  Result<void> result;
};

// Removes the enabled ones of `devices`: all or none, except that each release fails or succeeds by
// itself. A volume comes before its legs. A leg whose volume isn't among them goes alone, by force:
// the parts of the volume's files on it are flushed and revoked, one call for each contiguous
// range, and the volume stays. EBUSY: in use, and not forced (holders in the reports), or pages
// that can't be taken away. ETIMEDOUT: pins, requests or references are left at the deadline (in
// the reports). ENXIO: none of them is enabled. Any other: the error of the kernel or the medium.
RemovalOutcome remove_devices(const std::vector<Device*>& devices, const RemovalOptions& options,
                              KernelPort& kernel, EventBus& events);

}  // namespace pmemd
