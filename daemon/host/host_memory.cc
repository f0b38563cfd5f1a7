#include "daemon/host/host_memory.h"

#include <fstream>
#include <limits>
#include <string>

#include "core/base/memory.h"
#include "core/base/units.h"

namespace pmemd {

Result<HostMemory> host_memory() {
  std::ifstream lines("/proc/meminfo");
  HostMemory memory;
  std::string key;
  uint64_t kib = 0;
  while (lines >> key >> kib) {
    if (key == "MemTotal:") memory.total_bytes = kib * kKiB;
    if (key == "MemAvailable:") memory.available_bytes = kib * kKiB;
    if (memory.total_bytes != 0 && memory.available_bytes != 0) return memory;
    lines.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  if (lines.bad()) return fail_no_memory();  // a stream swallows the exception
  return fail(EIO, "/proc/meminfo doesn't tell what memory is available");
}

}  // namespace pmemd
