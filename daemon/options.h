// The daemon's command line.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "core/base/units.h"

namespace pmemd {

struct Options {
  std::string pool;
  std::string mount;
  bool nonempty = false;                // the mount may hide files
  std::optional<uint64_t> create_size;  // bytes
  bool sparse = false;
  uint64_t system_ram_bytes = 3 * kGiB;  // emulated, from address 0
  std::string socket;                    // empty: the default
  bool foreground = false;
  bool allow_other = false;
  std::string log_level = "info";
  bool debug_faults = false;
  bool raise_dirty_limits = false;  // the host's, while the daemon runs
  bool hot_ranges = true;           // read ahead where pages are touched one by one
  uint32_t stall_timeout_s = 120;   // end the mount if no request is served for this; 0: never
  bool check = false;               // check the pool and exit
  bool json = false;                // --check's findings as JSON
};

// The options, or the exit code to end with (0 after --help, 2 after a message on stderr).
std::variant<Options, int> parse_options(int argc, char** argv);

}  // namespace pmemd
