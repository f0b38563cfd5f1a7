#include "core/pool/media_errors.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "core/base/fault.h"
#include "core/pool/pool.h"
#include "core/pool/upgrade.h"
#include "tests/unit/failing_call.h"
#include "tests/unit/must.h"
#include "tests/unit/temporary_directory.h"

namespace pmemd {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Ranges = std::vector<RegionRange>;

constexpr uint32_t kRegion = 3;

// A database with the one table, and the errors of region 3 in it.
class MediaErrorsTest : public testing::Test {
 protected:
  MediaErrorsTest() {
    db_ = must(Database::open(directory_.path() + "/pool.db", Database::Mode::kCreate));
    MutexLock lock(db_->mutex());
    must(make_tables(*db_));
  }
  void SetUp() override { reload(); }
  ~MediaErrorsTest() override { FaultPoint::disarm_all(); }

  void reload(uint64_t max_ranges = MediaErrors::kMaxRanges) {
    errors_ = must(MediaErrors::load(*db_, kRegion, max_ranges));
  }
  void sql(const std::string& text) {
    MutexLock lock(db_->mutex());
    must(db_->execute(text));
  }
  void put_row(int kind, int64_t start, int64_t length, uint32_t region = kRegion) {
    sql(fmt::format("INSERT INTO badblocks VALUES ({}, {}, {}, {})", region, kind, start, length));
  }
  int64_t number(const std::string& query) {
    MutexLock lock(db_->mutex());
    Statement statement = must(db_->prepare(query));
    EXPECT_TRUE(must(statement.step()));
    return statement.column_int(0);
  }
  // "0 512+1024": kind, start and length of each row, of the region.
  std::vector<std::string> rows() {
    MutexLock lock(db_->mutex());
    Statement query = must(db_->prepare(
        "SELECT kind, start, length FROM badblocks WHERE region = 3 ORDER BY kind, start"));
    std::vector<std::string> found;
    while (must(query.step())) {
      found.push_back(
          fmt::format("{} {}+{}", query.column_int(0), query.column_int(1), query.column_int(2)));
    }
    return found;
  }
  int load_error() { return MediaErrors::load(*db_, kRegion).err(); }

  static constexpr RegionRange kAll = {0, uint64_t{1} << 40};

  const TemporaryDirectory directory_{TemporaryDirectory::Place::kInMemory};
  std::unique_ptr<Database> db_;
  std::unique_ptr<MediaErrors> errors_;
};

TEST(SectorsOf, WidensDownAndUp) {
  EXPECT_EQ(sectors_of(RegionRange{0, 512}), (RegionRange{0, 512}));
  EXPECT_EQ(sectors_of(RegionRange{511, 513}), (RegionRange{0, 1024}));
  EXPECT_EQ(sectors_of(RegionRange{512, 513}), (RegionRange{512, 1024}));
  EXPECT_TRUE(sectors_of(RegionRange{512, 512}).empty());
}

TEST_F(MediaErrorsTest, NothingIsBadAtFirst) {
  EXPECT_FALSE(errors_->is_bad(kAll));
  EXPECT_THAT(errors_->bad(kAll), IsEmpty());
  EXPECT_THAT(must(errors_->discover({kAll})), IsEmpty());
  EXPECT_THAT(must(errors_->clear({kAll})), IsEmpty());
  EXPECT_THAT(rows(), IsEmpty());
}

TEST_F(MediaErrorsTest, WhatIsInjectedButNotKnownIsLatentUntilItIsDiscovered) {
  must(errors_->inject({{1000, 1100}}, {}));
  EXPECT_TRUE(errors_->is_bad({1099, 1100}));
  EXPECT_FALSE(errors_->is_bad({1100, 2000})) << "bytes, not sectors, are bad";
  EXPECT_THAT(errors_->latent(kAll), ElementsAre(RegionRange{1000, 1100}));
  EXPECT_THAT(errors_->known(kAll), IsEmpty());
  // A touch anywhere in a sector finds it; what lies in the next one stays latent.
  EXPECT_THAT(must(errors_->discover({{512, 513}})), ElementsAre(RegionRange{512, 1024}));
  EXPECT_THAT(errors_->latent(kAll), ElementsAre(RegionRange{1024, 1100}));
  EXPECT_THAT(must(errors_->discover({{600, 1025}})), ElementsAre(RegionRange{1024, 1536}));
  EXPECT_THAT(errors_->known(kAll), ElementsAre(RegionRange{512, 1536}));
  EXPECT_THAT(errors_->latent(kAll), IsEmpty());
  EXPECT_TRUE(errors_->is_bad({1100, 1101}));
  EXPECT_THAT(must(errors_->discover({kAll})), IsEmpty()) << "once";
}

TEST_F(MediaErrorsTest, AddingMergesAndClearingTrimsAndSplits) {
  must(errors_->inject({}, {{512, 1024}}));
  must(errors_->inject({}, {{1024, 1536}}));
  EXPECT_THAT(rows(), ElementsAre("0 512+1024"));
  must(errors_->inject({}, {{4000, 4100}}));
  EXPECT_THAT(rows(), ElementsAre("0 512+1024", "0 3584+1024"));
  must(errors_->inject({}, {{1536, 3584}}));
  EXPECT_THAT(rows(), ElementsAre("0 512+4096"));
  must(errors_->clear({{0, 1024}}));
  EXPECT_THAT(rows(), ElementsAre("0 1024+3584"));
  must(errors_->clear({{2048, 2560}}));
  EXPECT_THAT(rows(), ElementsAre("0 1024+1024", "0 2560+2048"));
  must(errors_->clear({{0, 8192}}));
  EXPECT_THAT(rows(), IsEmpty());
  EXPECT_FALSE(errors_->is_bad(kAll));
}

TEST_F(MediaErrorsTest, UninjectLeavesWhatIsKnown) {
  must(errors_->inject({{0, 1024}}, {{0, 512}}));
  must(errors_->uninject({{256, 2048}}));
  EXPECT_THAT(errors_->injected(kAll), ElementsAre(RegionRange{0, 256}));
  EXPECT_THAT(errors_->bad(kAll), ElementsAre(RegionRange{0, 512}));
  must(errors_->uninject({kAll}));
  EXPECT_THAT(errors_->bad(kAll), ElementsAre(RegionRange{0, 512}));
  EXPECT_THAT(must(errors_->clear({{0, 512}})), ElementsAre(RegionRange{0, 512}));
}

TEST_F(MediaErrorsTest, ClearOfPartOfASectorKeepsItKnownWhileTheRestHasErrors) {
  must(errors_->inject({{0, 512}}, {{0, 512}}));
  EXPECT_THAT(must(errors_->clear({{0, 256}})), IsEmpty());
  EXPECT_THAT(errors_->injected(kAll), ElementsAre(RegionRange{256, 512}));
  EXPECT_THAT(errors_->known(kAll), ElementsAre(RegionRange{0, 512}));
  EXPECT_THAT(must(errors_->clear({{256, 512}})), ElementsAre(RegionRange{0, 512}));
  EXPECT_FALSE(errors_->is_bad(kAll));
}

TEST_F(MediaErrorsTest, RegionsAreEachOtherNothing) {
  put_row(0, 0, 512, kRegion + 1);
  put_row(1, 512, 512, kRegion - 1);
  reload();
  EXPECT_FALSE(errors_->is_bad(kAll));
  must(errors_->inject({{0, 512}}, {{0, 512}}));
  must(errors_->clear({kAll}));
  EXPECT_EQ(number("SELECT count(*) FROM badblocks"), 2);
}

TEST_F(MediaErrorsTest, RowsThatCannotBeAreEIO) {
  struct Row {
    int kind;
    int64_t start, length;
  };
  for (const auto& [kind, start, length] :
       {Row{2, 0, 512}, Row{-1, 0, 512}, Row{0, -512, 512}, Row{0, 0, 0}, Row{1, 0, -1},
        Row{1, INT64_MAX, 1}, Row{0, 0, 511}, Row{0, 1, 512}, Row{1, 99, 2}, Row{1, 50, 51}}) {
    SCOPED_TRACE(fmt::format("{} {} {}", kind, start, length));
    sql("DELETE FROM badblocks");
    put_row(1, 100, 100);
    ASSERT_EQ(load_error(), 0);
    put_row(kind, start, length);
    EXPECT_EQ(load_error(), EIO);
  }
}

// No pool of ours has them. But where one has, what goes must not be back after a restart.
TEST_F(MediaErrorsTest, RowsThatTouchAreOneRangeAndGoTogether) {
  put_row(0, 0, 512);
  put_row(0, 512, 512);
  put_row(1, 0, 100);
  put_row(1, 100, 100);
  reload();
  EXPECT_THAT(errors_->known(kAll), ElementsAre(RegionRange{0, 1024}));
  must(errors_->clear({{0, 1024}}));
  EXPECT_THAT(rows(), IsEmpty());
}

TEST_F(MediaErrorsTest, InAPoolOfAnOlderVersionNothingIsBad) {
  sql("DROP TABLE badblocks");
  reload();
  EXPECT_FALSE(errors_->is_bad(kAll));
}

TEST_F(MediaErrorsTest, AReaderSeesThemAndChangesNothing) {
  must(errors_->inject({{0, 512}}, {{0, 512}}));
  const auto read_only =
      must(Database::open(directory_.path() + "/pool.db", Database::Mode::kReadOnly));
  const auto seen = must(MediaErrors::load(*read_only, kRegion));
  EXPECT_THAT(seen->bad(kAll), ElementsAre(RegionRange{0, 512}));
  EXPECT_EQ(seen->clear({kAll}).err(), EROFS);
  EXPECT_TRUE(seen->is_bad({0, 1}));
}

TEST_F(MediaErrorsTest, TheLimitIsENOSPCAndOfBothKindsTogether) {
  reload(3);
  must(errors_->inject({{0, 512}}, {{0, 512}}));
  EXPECT_EQ(errors_->inject({{2000, 2001}, {3000, 3001}}, {}).err(), ENOSPC);
  must(errors_->inject({{2000, 2001}}, {}));
  EXPECT_EQ(errors_->inject({{4000, 4001}}, {}).err(), ENOSPC);
  EXPECT_EQ(errors_->discover({{2000, 2001}}).err(), ENOSPC);
  EXPECT_EQ(errors_->uninject({{100, 200}}).err(), ENOSPC) << "it would make two of one";
  EXPECT_EQ(errors_->clear({{100, 200}}).err(), ENOSPC);
  EXPECT_THAT(rows(), ElementsAre("0 0+512", "1 0+512", "1 2000+1"));
  EXPECT_THAT(errors_->injected(kAll), ElementsAre(RegionRange{0, 512}, RegionRange{2000, 2001}));
  // What makes no more of them is let through: merging, and taking away.
  must(errors_->inject({{2001, 2100}}, {}));
  must(errors_->clear({{0, 512}}));
  EXPECT_EQ(number("SELECT count(*) FROM badblocks"), 1);
}

TEST_F(MediaErrorsTest, AListOfRangesIsOneTransaction) {
  Ranges many;
  for (uint64_t i = 0; i < 1000; ++i) many.push_back(RegionRange::sized(i * 8192, 512));
  const std::vector<std::function<void()>> changes = {
      [&] { must(errors_->inject(many, {})); }, [&] { must(errors_->discover(many)); },
      [&] { must(errors_->uninject(many)); },
      [&] { EXPECT_EQ(must(errors_->clear(many)).size(), many.size()); }};
  for (const auto& change : changes) {
    must(FaultPoint::arm("media.write-record",
                         {.count = 1000, .delay = std::chrono::milliseconds(1)}));
    const auto hits = [] {
      for (const auto& point : FaultPoint::list()) {
        if (point.name == "media.write-record") return point.hits;
      }
      return uint64_t{0};
    };
    const uint64_t before = hits();
    change();
    EXPECT_EQ(hits() - before, 1u);
    FaultPoint::disarm_all();
  }
}

// Each change, interrupted: in memory as in the table nothing has changed.
TEST_F(MediaErrorsTest, AFailedTransactionChangesNothing) {
  must(errors_->inject({{0, 1024}, {3000, 3100}}, {{0, 512}}));
  const auto before = rows();
  const auto bad = errors_->bad(kAll);
  const std::vector<std::function<int()>> changes = {
      [&] { return errors_->inject({{5000, 6000}}, {{5000, 6000}}).err(); },
      [&] { return errors_->uninject({kAll}).err(); },
      [&] { return errors_->discover({kAll}).err(); },
      [&] { return errors_->clear({kAll}).err(); }};
  for (const auto& change : changes) {
    must(FaultPoint::arm("media.write-record", {}));
    EXPECT_EQ(change(), EIO);
    EXPECT_EQ(rows(), before);
    EXPECT_EQ(errors_->bad(kAll), bad);
  }
  // Half-way through its statements.
  sql("CREATE TRIGGER refuse BEFORE INSERT ON badblocks WHEN NEW.kind = 0"
      " BEGIN SELECT RAISE(ABORT, 'no'); END");
  EXPECT_NE(changes[0](), 0);
  EXPECT_EQ(rows(), before);
  EXPECT_EQ(errors_->bad(kAll), bad);
}

TEST_F(MediaErrorsTest, AFullHostDiskIsENOSPC) {
  must(errors_->inject({{0, 512}}, {}));
  int err = 0;
  const bool possible = run_with_failing_call(
      SYS_pwrite64, ENOSPC, [&] { err = errors_->inject({{1024, 1536}}, {}).err(); });
  if (!possible) GTEST_SKIP() << "calls can't be made to fail here";
  EXPECT_EQ(err, ENOSPC);
  EXPECT_THAT(errors_->bad(kAll), ElementsAre(RegionRange{0, 512}));
}

// The cost of a change grows with what it touches, not with what there is.
TEST_F(MediaErrorsTest, AmongTenThousandRangesAChangeTouchesItsOwnRows) {
  Ranges many;
  for (uint64_t i = 0; i < 10'000; ++i) many.push_back(RegionRange::sized(i * 4096, 256));
  must(errors_->inject(many, {}));
  const auto rows_changed_by = [&](const auto& change) {
    const int64_t before = number("SELECT total_changes()");
    change();
    return number("SELECT total_changes()") - before;
  };
  EXPECT_EQ(rows_changed_by([&] { must(errors_->discover({{5000 * 4096, 5000 * 4096 + 1}})); }), 1);
  EXPECT_EQ(rows_changed_by([&] { must(errors_->clear({{5000 * 4096, 5000 * 4096 + 512}})); }), 2);
  EXPECT_EQ(rows_changed_by([&] { must(errors_->uninject({{10 * 4096, 11 * 4096 + 1}})); }), 3);
  EXPECT_EQ(rows_changed_by([&] { must(errors_->clear({{4096, 4096 + 128}})); }), 2) << "a trim";
  EXPECT_EQ(rows_changed_by([&] { must(errors_->clear({{256, 4096}})); }), 0) << "nothing is bad";
}

// --- against a plain model

// A region of 256 cells of 64 bytes. Changes are in whole cells, sectors are eight of them.
class Model {
 public:
  static constexpr uint64_t kCell = 64, kCells = 256, kPerSector = kSectorSize / kCell;

  void set(std::array<bool, kCells>& kind, RegionRange range, bool value) {
    for (uint64_t i = range.begin / kCell; i < range.end / kCell; ++i) kind[i] = value;
  }
  bool has_injected(uint64_t sector) const {
    return std::any_of(injected.begin() + static_cast<ptrdiff_t>(sector * kPerSector),
                       injected.begin() + static_cast<ptrdiff_t>((sector + 1) * kPerSector),
                       [](bool bad) { return bad; });
  }
  void discover(RegionRange range) {
    range = sectors_of(range);
    std::array<bool, kCells> found = known;
    for (uint64_t i = range.begin / kCell; i < range.end / kCell; ++i) {
      if (!injected[i] || known[i]) continue;
      set(found, sectors_of(RegionRange::sized(i * kCell, kCell)), true);
    }
    known = found;
  }
  void clear(RegionRange range) {
    set(injected, range, false);
    const RegionRange sectors = sectors_of(range);
    for (uint64_t s = sectors.begin / kSectorSize; s < sectors.end / kSectorSize; ++s) {
      if (!has_injected(s)) set(known, RegionRange::sized(s * kSectorSize, kSectorSize), false);
    }
  }
  std::array<bool, kCells> bad() const {
    std::array<bool, kCells> either = known;
    for (uint64_t i = 0; i < kCells; ++i) either[i] |= injected[i];
    return either;
  }
  std::array<bool, kCells> latent() const {
    std::array<bool, kCells> hidden = injected;
    for (uint64_t i = 0; i < kCells; ++i) hidden[i] = injected[i] && !known[i];
    return hidden;
  }
  static Ranges ranges(const std::array<bool, kCells>& cells, RegionRange within) {
    RangeSet<RegionSpace> set;
    for (uint64_t i = 0; i < kCells; ++i) {
      if (cells[i]) set.insert(RegionRange::sized(i * kCell, kCell));
    }
    return set.intersect(within);
  }
  std::vector<std::string> rows() const {
    std::vector<std::string> rows;
    for (const int kind : {0, 1}) {
      for (const auto& range : ranges(kind == 0 ? known : injected, {0, kCells * kCell})) {
        rows.push_back(fmt::format("{} {}+{}", kind, range.begin, range.length()));
      }
    }
    return rows;
  }

  std::array<bool, kCells> injected{}, known{};
};

class MediaErrorsModelTest : public MediaErrorsTest {
 protected:
  RegionRange random_range() {
    const uint64_t begin = random_() % Model::kCells;
    const uint64_t end = begin + random_() % (random_() % 8 == 0 ? 64 : 12);
    return {begin * Model::kCell, std::min(end, Model::kCells) * Model::kCell};
  }
  Ranges random_ranges() {
    Ranges ranges;
    for (uint64_t i = 0; i < 1 + random_() % 3; ++i) ranges.push_back(random_range());
    return ranges;
  }
  void step() {
    const Ranges ranges = random_ranges();
    const auto was_bad = model_.bad();
    switch (random_() % 4) {
      case 0: {
        const Ranges known = random_() % 2 == 0 ? random_ranges() : Ranges();
        must(errors_->inject(ranges, known));
        for (const RegionRange& range : ranges) model_.set(model_.injected, range, true);
        for (const RegionRange& range : known) model_.set(model_.known, sectors_of(range), true);
        break;
      }
      case 1:
        must(errors_->uninject(ranges));
        for (const RegionRange& range : ranges) model_.set(model_.injected, range, false);
        break;
      case 2: {
        const auto before = model_.known;
        for (const RegionRange& range : ranges) model_.discover(range);
        RangeSet<RegionSpace> found;
        for (const auto& part : must(errors_->discover(ranges))) found.insert(part);
        for (uint64_t i = 0; i < Model::kCells; ++i) {
          if (model_.known[i] && !before[i]) {
            EXPECT_TRUE(found.contains(RegionRange::sized(i * Model::kCell, Model::kCell)));
          }
        }
        break;
      }
      default: {
        for (const RegionRange& range : ranges) model_.clear(range);
        std::array<bool, Model::kCells> gone{};
        const auto bad = model_.bad();
        for (uint64_t i = 0; i < Model::kCells; ++i) gone[i] = was_bad[i] && !bad[i];
        EXPECT_EQ(must(errors_->clear(ranges)), Model::ranges(gone, {0, UINT64_MAX}));
      }
    }
  }
  void compare() {
    const RegionRange within = random_range();
    EXPECT_EQ(errors_->injected(within), Model::ranges(model_.injected, within));
    EXPECT_EQ(errors_->known(within), Model::ranges(model_.known, within));
    EXPECT_EQ(errors_->bad(within), Model::ranges(model_.bad(), within));
    EXPECT_EQ(errors_->latent(within), Model::ranges(model_.latent(), within));
    EXPECT_EQ(errors_->is_bad(within), !Model::ranges(model_.bad(), within).empty());
  }

  const uint64_t seed_ = std::random_device{}();
  std::mt19937_64 random_{seed_};
  Model model_;
};

TEST_F(MediaErrorsModelTest, MatchesCellsAfterEachStepInMemoryAndInTheTable) {
  SCOPED_TRACE(testing::Message() << "seed " << seed_);
  sql("PRAGMA synchronous = OFF");
  for (int i = 0; i < 1500 && !HasFailure(); ++i) {
    SCOPED_TRACE(testing::Message() << "step " << i);
    step();
    ASSERT_EQ(rows(), model_.rows()) << "merged and disjoint";
    compare();
    if (i % 2 == 0) reload();
    compare();
  }
}

}  // namespace
}  // namespace pmemd
