// Ranged failure: memory of a device goes bad, and everybody who uses it is told once.
//
//   look → record → memory_failure() → takeover → revoke → tell
//
// A failure is a list of ranges of one device (sorted, disjoint, not empty), which goes through all
// steps as one: a file in 500 extents costs one look and one transaction, as one extent does.
//
// look: finds who has it mapped; again after the takeover. record: from here on the range is bad
// for every request. memory_failure(): finds whose it is, through the holders. takeover: a process
// that has registered one may save and repair, with pages still mapped. revoke: one ranged inval
// for each contiguous range of a file; then checks the mappers' page tables. tell: sends events, to
// `monitor` and to each registered mapping, in the file's coordinates.
//
// Invariants:
//  1. Recorded first, revoked second: a page whose READ is in flight is locked, and the inval waits
//     for it and drops it.
//  2. Access to bad bytes always ends; a takeover decides only who is told.
//  3. Exactly the pages that hold bad bytes are taken away; stores to their other bytes reach the
//     medium first.
//  4. Whatever fails after the record, the range stays bad; the call can be repeated.
//  5. Every wait has a deadline; a takeover has its own.
//
// Thread contract: any thread that serves no requests. Two calls for the same ranges are two
// failures.
// Models: mm/memory-failure.c mf_dax_kill_procs(), collect_procs_fsdax(),
// fs/xfs/xfs_notify_failure.c xfs_dax_failure_fn(), drivers/acpi/nfit/core.c acpi_nfit_ars_rescan()
// @v6.12; differs: ranges, not pages; a process that is told by an event, not a signal, raises the
// signal itself (client/).
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

// The objects that a failure acts on.
struct FailurePorts {
  PagemapRegistry& registry;
  KernelPort& kernel;
  EventBus& events;
  // The device that an inode is on; null: none. (A volume's files lie on its legs' memory.)
  std::function<std::shared_ptr<Device>(uint64_t ino)> device_of;
};

struct InjectOptions {
  bool latent = false;    // nobody is told, nothing is recorded: the first touch finds it
  bool saturate = false;  // all of each block is bad, not only its first clear unit
};

struct FailedFile {
  uint64_t ino = 0;
  std::string name_of_namespace;  // or volume: the device of its file system
  std::string path;               // as DeviceContent::paths(); empty: it can't be read
  FileRange range;                // whole pages
  bool is_metadata = false;       // the file system's bytes, not a file's
  bool is_handled = false;        // by a takeover: nobody was told
  uint64_t told = 0;              // registered mappings that were told
};

struct FailureReport {
  std::string name_of_namespace;
  DataRanges ranges;       // as requested
  uint64_t seq = 0;        // of the first event; 0: there was none
  uint64_t bad_bytes = 0;  // newly known, or injected
  std::vector<FailedFile> files = {};
  // Processes that had part of it mapped at any look, and their fates; pages_present: before.
  std::vector<Holder> holders = {};
  uint64_t pages_left = 0;  // still mapped after the revocation: 0, or something is wrong
  bool shut_down = false;   // a file system lost metadata, and can't go on
};

// Makes `ranges` (widened to sectors) bad. Returns when no mapping has their pages any more. While
// the device is disabled only the record changes. EINVAL: no range, or one that isn't within the
// device. ENXIO: private memory, which nobody maps; or a volume, which has no memory of its own.
// ENOSPC: too many ranges are bad already. EBUSY: pages that can't be taken away. EIO: pool.db.
Result<FailureReport> inject_error(Device& device, const DataRanges& ranges,
                                   const InjectOptions& options, const FailurePorts& ports);

// The record step of inject_error(), for callers that can't wait for the rest: the next touch of
// the memory meets the error. Errors as there; only EINVAL, ENXIO, ENOSPC and EIO.
Result<void> record_errors(Device& device, const DataRanges& ranges, const InjectOptions& options);

// Makes latent errors in `ranges` known, as a touch or a scrub does: then the failure is that of an
// inject_error() without `latent`. No bad bytes in the report: none were latent. Errors as above.
Result<FailureReport> discover_errors(Device& device, const DataRanges& ranges,
                                      const FailurePorts& ports);

// Removes the platform's errors: latent ranges are good again, known ranges stay recorded.
Result<void> uninject_error(Device& device, const DataRanges& ranges);

// Writes zeros over known bad ranges; returns how many bytes are good again. Latent errors stay.
// EIO: the memory can't be cleared. ENXIO: disabled.
Result<uint64_t> clear_errors(Device& device, const DataRanges& ranges);

// Finds who would be hit; changes nothing.
Result<FailureReport> look_at_ranges(Device& device, const DataRanges& ranges,
                                     const FailurePorts& ports);

// Tells that a write has made ranges good: by event, and to registered mappings of the files there.
void tell_cleared(Device& device, const DataRanges& ranges, const FailurePorts& ports);

}  // namespace pmemd
