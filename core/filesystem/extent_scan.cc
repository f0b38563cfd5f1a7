#include "core/filesystem/extent_scan.h"

#include <optional>
#include <vector>

#include "core/base/mutex.h"
#include "core/pool/fletcher.h"

namespace pmemd {

Result<uint64_t> scan_extents(Database& db, Rows& rows,
                              const std::function<void(DataRange)>& visit) {
  constexpr uint64_t kRowsAtOnce = 256;
  Fletcher64 sum;
  std::optional<Rows::Owner> last;
  for (;;) {
    std::vector<Rows::Owner> batch;
    {
      MutexLock lock(db.mutex());
      PMEMD_ASSIGN(batch, rows.extents_behind(last, kRowsAtOnce));
    }
    for (const auto& [ino, extent] : batch) {
      for (const uint64_t word : {ino, extent.file_offset, extent.data_offset, extent.length}) {
        sum.add_u64(word);
      }
      if (visit) visit(extent.data());
    }
    if (batch.size() < kRowsAtOnce) return sum.value();
    last = batch.back();
  }
}

}  // namespace pmemd
