// Each column of the schema has its domain, which reading and `check` go by.
#include "core/pool/columns.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "core/pool/check.h"
#include "core/pool/pool.h"
#include "tests/unit/pool/pool_fixture.h"

namespace pmemd {
namespace {

using ::testing::Contains;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class Columns : public PoolFixture {
 protected:
  Columns() { pool_ = create_pool(16 * kMiB); }
  std::vector<Finding> findings() { return must(check_regions(*must(PoolView::open(*pool_)))); }
  static auto says(const std::string& words) {
    return Contains(Field(&Finding::problem, HasSubstr(words)));
  }
};

TEST_F(Columns, OfEveryTableAreDeclared) {
  std::set<std::string> declared, found;
  for (const Column& column : all_columns()) {
    EXPECT_TRUE(declared.insert(fmt::format("{}.{}", column.table, column.name)).second);
  }
  MutexLock lock(pool_->database().mutex());
  auto rows = pool_->database().prepare(
      "SELECT t.name || '.' || c.name FROM sqlite_master t, pragma_table_info(t.name) c"
      " WHERE t.type = 'table'");
  ASSERT_TRUE(rows) << rows.error().describe();
  while (rows->step().value()) found.insert(rows->column_text(0));
  EXPECT_EQ(declared, found);
}

TEST_F(Columns, AcceptOnlyValuesOfTheirTypeAndRange) {
  const auto accepts = [this](const Column& column, const std::string& value) {
    MutexLock lock(pool_->database().mutex());
    auto row = pool_->database().prepare("SELECT " + value);
    EXPECT_TRUE(row && row->step().value());
    RowReader reader(*row);
    if (column.type == Column::Type::kInteger) {
      (void)reader.integer(0, column);
    } else {
      (void)reader.bytes(0, column);
    }
    EXPECT_EQ(reader.done().err(), column.accepts(*row, 0) ? 0 : EIO);
    return column.accepts(*row, 0);
  };
  for (const char* const good : {"0", "1000", "4294967294"}) {
    EXPECT_TRUE(accepts(columns::kInodeUid, good)) << good;
  }
  for (const char* const bad : {"-1", "4294967295", "1 << 40", "NULL", "'1'", "x'31'", "1.0"}) {
    EXPECT_FALSE(accepts(columns::kInodeUid, bad)) << bad;
  }
  EXPECT_TRUE(accepts(columns::kExtentFileOffset, "8192"));
  EXPECT_FALSE(accepts(columns::kExtentFileOffset, "8191"));
  EXPECT_FALSE(accepts(columns::kExtentFileOffset, "-4096"));
  EXPECT_TRUE(accepts(columns::kInodeMode, "33188"));
  EXPECT_FALSE(accepts(columns::kInodeMode, "420"));
  EXPECT_TRUE(accepts(columns::kDirentName, "x'61'"));
  for (const char* const bad :
       {"x''", "x'2e'", "x'2e2e'", "x'612f62'", "x'6100'", "'a'", "zeroblob(256)"}) {
    EXPECT_FALSE(accepts(columns::kDirentName, bad)) << bad;
  }
  EXPECT_TRUE(accepts(columns::kInodeTarget, "NULL"));
  EXPECT_FALSE(accepts(columns::kXattrValue, "zeroblob(65537)"));
}

TEST_F(Columns, WithOtherValuesAreFindings) {
  EXPECT_THAT(findings(), IsEmpty());
  sql("INSERT INTO inodes (ino, mode, uid, gid, nlink, rdev, size, atime, mtime, ctime, btime)"
      " VALUES ((1 << 40) + 1, 16877, 1 << 40, 0, 2, 0, 0, 0, 0, 0, 'x')");
  EXPECT_THAT(findings(), says("inodes.uid is 1099511627776"));
  EXPECT_THAT(findings(), says("inodes.btime is the text 'x'"));
  sql("DELETE FROM inodes; INSERT INTO extents VALUES ((1 << 40) + 1, 'abc', 0, 4096)");
  EXPECT_THAT(findings(), says("extents.file_offset is the text 'abc'"));
}

TEST_F(Columns, OfALabelThatAreWildKeepThePoolClosed) {
  const std::string path = pool_->path();
  // Once, this read as 0: "being destroyed", and the next start finished that.
  sql("UPDATE namespaces SET live = 'yes'");
  pool_.reset();
  const auto opened = Pool::open(path, Pool::Mode::kReadWrite);
  ASSERT_EQ(opened.err(), EIO);
  EXPECT_THAT(opened.error().message, HasSubstr("namespaces.live is the text 'yes'"));
}

TEST_F(Columns, AndIndexesOfAnotherSchemaAreFindings) {
  sql("DROP INDEX dirents_in_order; CREATE INDEX more ON dirents (ino)");
  EXPECT_THAT(findings(), says("index dirents_in_order is missing"));
  EXPECT_THAT(findings(), says("index more is none of a pool's"));
  const std::string path = pool_->path();
  pool_.reset();
  EXPECT_EQ(Pool::open(path, Pool::Mode::kReadWrite).err(), EIO);
  EXPECT_TRUE(Pool::open(path, Pool::Mode::kReadOnly));  // to be looked at
}

// The check sees one moment: a namespace that goes, and one that comes, while it looks.
TEST_F(Columns, AndLabelsThatChangeMeanwhileAreNone) {
  ASSERT_TRUE(pool_->create_region(16 * kMiB, Reservation::kSparse));
  const auto going = pool_->create_namespace({.region = 1, .size_bytes = 4 * kMiB});
  ASSERT_TRUE(going) << going.error().describe();
  const auto view = PoolView::open(*pool_);
  ASSERT_TRUE(view);
  ASSERT_TRUE(pool_->destroy_namespace(*going));
  ASSERT_TRUE(pool_->create_namespace({.region = 1, .size_bytes = 8 * kMiB}));
  ASSERT_TRUE(pool_->create_region(16 * kMiB, Reservation::kSparse));
  const auto found = check_regions(**view);
  ASSERT_TRUE(found) << found.error().describe();
  EXPECT_THAT(*found, IsEmpty());
}

}  // namespace
}  // namespace pmemd
