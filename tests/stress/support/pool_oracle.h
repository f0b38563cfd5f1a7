// What is right to find in the mount of a damaged pool. A thing that is found
//  1. is what the pool held before the damage; or
//  2. is what the tables say now (tests/stress/support/pool_truth.h): a change that keeps within
//  all rules
//     can't be told from one that pmemd made, and no data has a checksum. (Where the bytes of what
//     was disabled cleanly lie has one: whoever damages that leaves `tables` empty.)
// What `check` called well is served whole, without an error.
//
// Thread contract: one thread.
#pragma once

#include <set>
#include <string>

#include "tests/stress/support/mount_walk.h"
#include "tests/stress/support/pool_truth.h"

namespace pmemd {

struct Expected {
  Tree before, tables;
  bool is_well = false;  // says `check`

  // What is wrong, a line each. `bad`: devices with memory that can't be read, and says so.
  std::string judge(const MountWalk& walk, const std::set<std::string>& bad) const;
};

// "namespace0.0" of "namespace0.0/dir/file".
std::string device_in(const std::string& path);

}  // namespace pmemd
