// One use of a device: a line of `pmemctl refs`.
//
// Thread contract: values.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <string_view>

#include "core/range/range.h"

namespace pmemd {

enum class ReferenceKind {
  kLease,     // lent to the kernel's page cache; holds a reference of the pagemap
  kHandle,    // an open file: makes the device busy, and outlives a removal
  kMapping,   // a mapping that its process has registered; ends with its handle or its process
  kTakeover,  // asked first when its range is poisoned; ends in the same way
  kPin,       // keeps a range from being removed; holds a reference of the pagemap
  kRequest,   // a FUSE request in flight
  kBuffer,    // of a p2p pool; holds a reference of the pagemap for each page
  kPage,      // private pages on the device; hold a reference each
  kVolume,    // the enabled volume that it is a leg of; holds a reference of the pagemap
};
inline constexpr size_t kReferenceKinds = 9;
std::string_view to_string(ReferenceKind kind);  // "lease", "handle", …

struct Reference {
  ReferenceKind kind = ReferenceKind::kLease;
  uint64_t id = 0;      // of handles, mappings, takeovers and pins
  uint64_t handle = 0;  // of the last three: the handle they were asked for through
  pid_t pid = 0;  // of a thread or a process, as FUSE reports it; 0: the kernel's page cache, or a
                  // process of another pid namespace
  uint64_t ino = 0;  // 0: of no file
  FileRange range = {};
  uint64_t address = 0;                  // of a mapping, in its process
  std::chrono::milliseconds timeout{0};  // of a takeover: how long we wait for an answer
  std::string_view what = {};            // of a request: its operation
  std::chrono::system_clock::time_point since = {};
};

// Selects references of a file that touch a range of it. A handle covers the whole file.
struct ReferenceFilter {
  uint64_t ino = 0;
  FileRange range = kWholeFile;

  bool matches(const Reference& reference) const {
    return reference.ino == ino && reference.range.overlaps(range);
  }
};

}  // namespace pmemd
