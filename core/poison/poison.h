// Ranged failure: memory of a device goes bad, and everybody who stands on it learns it once.
//
//   look → record → memory_failure() → takeover → revoke → tell
//
// A failure is a list of ranges of one device (sorted, disjoint, not empty), which goes through all
// steps as one: a file in 500 extents costs one look and one transaction, as one extent does.
//
// look: who has it mapped; again behind the takeover. record: the range is bad from here on, for
// every request. memory_failure(): whose it is, through the holders. takeover: who has asked to be
// asked may save and repair, with pages still mapped. revoke: one ranged inval for each contiguous
// range of a file; then the page tables of the mappers are looked at. tell: events, for `monitor`
// and for each registered mapping, in the file's coordinates.
//
// Invariants:
//  1. Recorded first, revoked second: a page whose READ is in flight is locked, and the inval waits
//     for it and drops it.
//  2. Access to bad bytes ends in any case; a takeover decides only who is told.
//  3. Exactly the pages that hold bad bytes are taken away; stores into the rest of them are on the
//     medium before.
//  4. Whatever fails behind the record, the range stays bad; the call can be repeated.
//  5. No wait is without a deadline: a takeover's is its own.
//
// Thread contract: any thread that serves no requests. Two calls for the same ranges are two
// failures.
// Models: mm/memory-failure.c mf_dax_kill_procs(), collect_procs_fsdax(),
// fs/xfs/xfs_notify_failure.c xfs_dax_failure_fn(), drivers/acpi/nfit/core.c acpi_nfit_ars_rescan()
// @v6.12; differs: ranges, not pages; who is told by an event instead of a signal raises it itself
// (client/).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "core/device/device.h"
#include "core/events/event.h"
#include "core/removal/holders.h"
#include "core/removal/kernel_port.h"

namespace pmemd {

// What a failure reaches.
struct FailurePorts {
  PagemapRegistry& registry;
  KernelPort& kernel;
  EventBus& events;
  // The device that an inode is on; null: none. (A volume's files lie on its legs' memory.)
  std::function<std::shared_ptr<Device>(uint64_t ino)> device_of;
};

struct InjectOptions {
  bool latent = false;    // nobody is told, nothing is recorded: who touches it finds out
  bool saturate = false;  // all of each block is bad, not only its first clear unit
};

struct FailedFile {
  uint64_t ino = 0;
  std::string name_of_namespace;  // or volume: what its file system is on
  std::string path;               // as DeviceContent::paths() has it; empty: it can't be read
  FileRange range;                // whole pages
  bool is_metadata = false;       // not a file's bytes: its file system's
  bool is_handled = false;        // by a takeover: nobody was told
  uint64_t told = 0;              // registered mappings that were
};

struct FailureReport {
  std::string name_of_namespace;
  DataRanges ranges;       // that were asked for
  uint64_t seq = 0;        // of the first event; 0: there was none
  uint64_t bad_bytes = 0;  // newly known, or injected
  std::vector<FailedFile> files = {};
  // Who had part of it mapped at any look, and what became of them; pages_present: before.
  std::vector<Holder> holders = {};
  uint64_t pages_left = 0;  // still mapped after the revocation: 0, or something is wrong
  bool shut_down = false;   // a file system lost metadata, and can't go on
};

// Makes `ranges` (widened to sectors) bad. Returns when it has taken effect: no mapping has their
// pages any more. While the device is disabled only the record changes. EINVAL: none, or not within
// the device. ENXIO: private memory, which nobody maps; or a volume, which has none of its own.
// ENOSPC: too many ranges are bad already. EBUSY: pages that can't be taken away. EIO: pool.db.
Result<FailureReport> inject_error(Device& device, const DataRanges& ranges,
                                   const InjectOptions& options, const FailurePorts& ports);

// Only the record of inject_error(), for who can't wait for its effect: who touches the memory
// meets the error. Errors as there; only EINVAL, ENXIO, ENOSPC and EIO.
Result<void> record_errors(Device& device, const DataRanges& ranges, const InjectOptions& options);

// What is latent in `ranges` becomes known, as after a touch or a scrub: the failure that an
// inject_error() without `latent` is. A report without bad bytes: nothing was. Errors as above.
Result<FailureReport> discover_errors(Device& device, const DataRanges& ranges,
                                      const FailurePorts& ports);

// Takes the platform's errors away: what was latent is good again, what is known stays recorded.
Result<void> uninject_error(Device& device, const DataRanges& ranges);

// Writes zeros over what is known to be bad; how many bytes are good again. Latent errors stay.
// EIO: the memory can't be cleared. ENXIO: disabled.
Result<uint64_t> clear_errors(Device& device, const DataRanges& ranges);

// Who would be hit; changes nothing.
Result<FailureReport> look_at_ranges(Device& device, const DataRanges& ranges,
                                     const FailurePorts& ports);

// Tells of ranges that a write has made good: the files there, and the mappings of them.
void tell_cleared(Device& device, const DataRanges& ranges, const FailurePorts& ports);

}  // namespace pmemd
