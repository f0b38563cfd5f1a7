#include "core/filesystem/extent_scan.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/range/range_set.h"
#include "tests/unit/filesystem/mounted_fs.h"

namespace pmemd {
namespace {

// More rows than are read at once.
constexpr uint64_t kExtents = 700;

class ExtentScan : public testing::Test {
 protected:
  ExtentScan() {
    for (const uint64_t ino : {fs_.make("a"), fs_.make("b")}) {
      for (uint64_t i = 0; i < kExtents; ++i) must(fs_.write(ino, 2 * i * kPageSize, "x"));
    }
  }
  uint64_t checksum() { return must(fs_->extents_checksum()); }
  void sql(const char* text) {
    MutexLock lock(fs_.db().mutex());
    must(fs_.db().execute(text));
  }

  MountedFs fs_;
};

// docs/pool-format.md, as plainly as it can be written.
TEST_F(ExtentScan, TheChecksumIsThatOfThePoolFormat) {
  uint64_t a = 0, b = 0, rows = 0;
  {
    MutexLock lock(fs_.db().mutex());
    Statement all = must(fs_.db().prepare(
        "SELECT ino, file_offset, data_offset, length FROM extents ORDER BY ino, file_offset"));
    for (; must(all.step()); ++rows) {
      for (int column = 0; column < 4; ++column) {
        const auto word = static_cast<uint64_t>(all.column_int(column));
        for (const uint64_t half : {word % (uint64_t{1} << 32), word >> 32}) {
          a = (a + half) % (uint64_t{1} << 32);
          b = (b + a) % (uint64_t{1} << 32);
        }
      }
    }
  }
  EXPECT_EQ(rows, 2 * kExtents);
  EXPECT_EQ(checksum(), b << 32 | a);
}

TEST_F(ExtentScan, EveryRowIsVisitedOnce) {
  RangeSet<DataSpace> seen;
  uint64_t bytes = 0;
  Rows rows = [&] {
    MutexLock lock(fs_.db().mutex());
    return must(Rows::prepare(fs_.db(), inode_serial(fs_.root()), fs_.media().size_bytes()));
  }();
  uint64_t visits = 0;
  const uint64_t sum = must(scan_extents(fs_.db(), rows, [&](DataRange range) {
    seen.insert(range);
    ++visits;
  }));
  EXPECT_EQ(sum, checksum());
  EXPECT_EQ(visits, 2 * kExtents);
  seen.for_each([&](DataRange range) { bytes += range.length(); });
  EXPECT_EQ(bytes, 2 * kExtents * kPageSize);
}

// A lost row; and two that have changed places, whose words have the same sum.
TEST_F(ExtentScan, TheChecksumShowsEachKindOfChange) {
  const uint64_t before = checksum();
  sql("BEGIN; DELETE FROM extents WHERE file_offset = 8192"
      " AND ino = (SELECT max(ino) FROM extents)");
  EXPECT_NE(checksum(), before);
  sql("ROLLBACK; BEGIN; UPDATE extents SET data_offset = (SELECT sum(data_offset) FROM extents o"
      " WHERE o.ino = extents.ino AND o.file_offset IN (0, 8192)) - data_offset"
      " WHERE file_offset IN (0, 8192)");
  EXPECT_NE(checksum(), before);
  sql("ROLLBACK");
  EXPECT_EQ(checksum(), before);
}

}  // namespace
}  // namespace pmemd
