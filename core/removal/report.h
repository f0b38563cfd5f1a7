// A removal's report: who was hit, and who is in the way.
//
// Thread contract: values; the functions from any thread that serves no requests.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "core/device/device.h"
#include "core/references/reference.h"
#include "core/removal/holders.h"

namespace pmemd {

struct RemovalStep {
  std::string name;
  std::chrono::microseconds duration{0};
};

struct RemovalReport {
  std::string name_of_namespace;
  bool dry_run = false;
  bool surprise = false;
  bool disabled = false;
  bool hits_mappings = true;  // false: private memory, which stays with its processes
  // All holders that any look found, and their fates. pages_present: when they were last seen.
  std::vector<Holder> holders = {};
  std::vector<pid_t> killed = {};
  uint64_t lent_ranges = 0;
  uint64_t lent_bytes = 0;
  uint64_t files_flushed = 0;
  uint64_t files_revoked = 0;
  uint64_t pages_left = 0;       // still mapped after the revocation: 0, or something is wrong
  uint64_t lost_writebacks = 0;  // pages' WRITEs that failed: host disk full, or surprise
  uint64_t requests_left = 0;    // in flight at the deadline
  uint64_t pins_taken = 0;       // by surprise or abandon
  uint64_t buffers_taken = 0;    // of a p2p pool, the same
  uint64_t pages_migrated = 0;   // private ones that came back to system memory
  uint64_t abandoned = 0;        // references of the pagemap that were given up
  // What holds the removal up (requests, pins, buffers), if it failed because of that; and the
  // number of references that nobody accounts for.
  std::vector<Reference> in_the_way = {};
  uint64_t unaccounted = 0;
  std::vector<RemovalStep> steps = {};
};

// Sets the path of each file of these devices by its inode, whatever mount its holder has it from.
void name_files(std::vector<Holder>& holders, const std::vector<const Device*>& devices);

// A report with the device's name, and the fields that don't change.
RemovalReport start_report(const Device& device);

// Notes the device's current requests, pins and buffers.
void note_in_the_way(RemovalReport& report, const Device& device);

// EBUSY; the message says who uses it.
[[nodiscard]] std::unexpected<Error> busy(const RemovalReport& report, const Device& device);

// ETIMEDOUT: `what` ("2 pins") is left. Puts who is in the way into the report and the message.
[[nodiscard]] std::unexpected<Error> held_up(RemovalReport& report, const Device& device,
                                             const std::string& what);

}  // namespace pmemd
