// Where a run of pmemctl prints, and what ends it early.
#pragma once

#include <ostream>

namespace pmemd::cli {

struct Terminal {
  std::ostream& out;  // data
  std::ostream& err;  // errors, and what goes with them
  int stop_fd = -1;   // readable: end soon (the user's Ctrl-C)
};

// Exit codes.
inline constexpr int kDone = 0;
inline constexpr int kFailed = 1;
inline constexpr int kUsage = 2;

}  // namespace pmemd::cli
