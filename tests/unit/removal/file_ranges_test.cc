// What is done to ranges of files, whoever takes them away.
#include "core/removal/file_ranges.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "core/base/fault.h"
#include "core/base/units.h"
#include "tests/unit/removal/removal_fixture.h"

namespace pmemd {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;
using Ranges = std::vector<FileRange>;
using Calls = std::vector<std::pair<uint64_t, FileRange>>;

FileRange pages(uint64_t begin, uint64_t end) { return {begin * kPageSize, end * kPageSize}; }

class FileRangesTest : public RemovalFixture {
 protected:
  const uint64_t a_ = ino(fsdax_, 5), b_ = ino(fsdax_, 6);
  FileRanges ranges_;
};

TEST_F(FileRangesTest, AWholeDeviceIsWhatIsLentOfItNow) {
  ranges_.add_all(fsdax_);
  EXPECT_FALSE(ranges_.empty());
  EXPECT_THAT(ranges_.files(), IsEmpty());
  lend(fsdax_, 5, pages(0, 2));
  lend(fsdax_, 6, pages(7, 8));
  lend(devdax_, 1, pages(0, 1));
  EXPECT_THAT(ranges_.files(), UnorderedElementsAre(a_, b_));
  EXPECT_EQ(ranges_.ranges(a_, pages(1, 9)), Ranges{pages(1, 9)}) << "whatever is lent of it";
  EXPECT_EQ(ranges_.lent(a_), Ranges{pages(0, 2)});
  EXPECT_EQ(ranges_.lent_totals().ranges, 2u);
  EXPECT_EQ(ranges_.lent_totals().bytes, 3 * kPageSize);
  EXPECT_THAT(ranges_.ranges(ino(devdax_, 1)), IsEmpty()) << "another device's";
}

TEST_F(FileRangesTest, RangesAreWholePagesMergedAndLentWhereTheyAre) {
  ranges_.add(fsdax_, a_, {10, 20});
  ranges_.add(fsdax_, a_, {kPageSize + 1, kPageSize + 2});
  ranges_.add(fsdax_, a_, pages(5, 9));
  ranges_.erase(a_, pages(6, 7));
  EXPECT_EQ(ranges_.ranges(a_), (Ranges{pages(0, 2), pages(5, 6), pages(7, 9)}));
  EXPECT_EQ(ranges_.ranges(a_, pages(1, 8)), (Ranges{pages(1, 2), pages(5, 6), pages(7, 8)}));
  lend(fsdax_, 5, pages(1, 8));
  lend(fsdax_, 6, pages(0, 1));
  EXPECT_EQ(ranges_.lent(a_), (Ranges{pages(1, 2), pages(5, 6), pages(7, 8)}));
  EXPECT_EQ(ranges_.lent_totals().bytes, 3 * kPageSize);
  EXPECT_THAT(ranges_.lent(b_), IsEmpty());
  ranges_.erase(a_, kWholeFile);
  EXPECT_TRUE(ranges_.empty());
}

TEST_F(FileRangesTest, HeldIsWhatOverlapsAndWhoHasSomeOfItOpen) {
  ranges_.add(fsdax_, a_, pages(2, 4));
  const auto held = ranges_.held({
      holder({mapping(a_, "/a", pages(0, 2)), mapping(a_, "/a", pages(3, 9))}),
      holder({mapping(b_, "/b", pages(2, 4))}, {{.ino = a_, .path = "/a", .fd = 3}}),
      holder({mapping(b_, "/b", pages(2, 4))}, {{.ino = b_, .path = "/b", .fd = 3}}),
  });
  ASSERT_EQ(held.size(), 2u);
  ASSERT_EQ(held[0].mappings.size(), 1u);
  EXPECT_EQ(held[0].mappings[0].range, pages(3, 9)) << "the one that overlaps, as it is";
  EXPECT_THAT(held[1].mappings, IsEmpty());
  EXPECT_EQ(held[1].open_files.size(), 1u);
}

TEST_F(FileRangesTest, OnlyFilesWithAWriterAreFlushedAndOnlyRangesThatAreLargeEnough) {
  ranges_.add(fsdax_, a_, pages(0, 1));
  ranges_.add(fsdax_, a_, pages(4, 8));
  ranges_.add(fsdax_, b_, pages(0, 8));
  must(fsdax_.handles().add({.ino = a_, .writable = true}));
  must(fsdax_.handles().add({.ino = b_, .writable = false}));
  auto flushed = must(ranges_.flush(kernel_));
  EXPECT_EQ(flushed.tried, 1u);
  EXPECT_EQ(flushed.done, 1u);
  EXPECT_EQ(kernel_.calls("flush"), 2u);
  flushed = must(ranges_.flush(kernel_, 4 * kPageSize));
  EXPECT_EQ(kernel_.calls("flush"), 3u);
  EXPECT_EQ(must(ranges_.flush(kernel_, 5 * kPageSize)).tried, 0u);
  EXPECT_EQ(kernel_.calls("flush"), 3u);
}

TEST_F(FileRangesTest, AFlushThatFailsIsNotDoneAndOneThatIsNotAnsweredIsAnError) {
  ranges_.add(fsdax_, a_, pages(0, 1));
  must(fsdax_.handles().add({.ino = a_, .writable = true}));
  kernel_.on_flush = [](uint64_t) -> Result<void> { return fail(ENOSPC); };
  const auto flushed = must(ranges_.flush(kernel_));
  EXPECT_EQ(flushed.tried, 1u);
  EXPECT_EQ(flushed.done, 0u);
  kernel_.on_flush = [](uint64_t) -> Result<void> { return fail(ETIMEDOUT); };
  EXPECT_EQ(ranges_.flush(kernel_).err(), ETIMEDOUT);
}

TEST_F(FileRangesTest, OneInvalForEachContiguousRangeAndOneForAWholeFile) {
  ranges_.add(fsdax_, a_, pages(0, 1));
  ranges_.add(fsdax_, a_, pages(1, 2));
  ranges_.add(fsdax_, a_, pages(4, 8));
  ranges_.add_all(devdax_);
  lend(devdax_, 1, pages(0, 1));
  lend(devdax_, 1, pages(3, 4));
  must(ranges_.inval(kernel_));
  EXPECT_THAT(kernel_.invals(),
              UnorderedElementsAre(std::pair(a_, pages(0, 2)), std::pair(a_, pages(4, 8)),
                                   std::pair(ino(devdax_, 1), kWholeFile)));
}

TEST_F(FileRangesTest, OfAFileThatTheKernelDoesNotKnowNoMoreIsAskedAndTheOthersGo) {
  ranges_.add(fsdax_, a_, pages(0, 1));
  ranges_.add(fsdax_, a_, pages(4, 8));
  ranges_.add(fsdax_, b_, pages(0, 1));
  kernel_.on_inval = [&](uint64_t of) -> Result<void> {
    return of == a_ ? fail(ENOENT) : Result<void>();
  };
  EXPECT_TRUE(ranges_.inval(kernel_));
  EXPECT_EQ(kernel_.invals(), (Calls{{a_, pages(0, 1)}, {b_, pages(0, 1)}}));
  kernel_.on_inval = [](uint64_t) -> Result<void> { return fail(EIO); };
  EXPECT_EQ(ranges_.inval(kernel_).err(), EIO);
}

TEST_F(FileRangesTest, WithoutPresentPagesItIsRevokedOnceOrAsOftenAsWanted) {
  ranges_.add(fsdax_, a_, pages(0, 1));
  std::vector<Holder> holders;
  EXPECT_EQ(must(ranges_.revoke(kernel_, holders)), 0u);
  EXPECT_EQ(kernel_.calls("inval"), 1u);
  EXPECT_EQ(must(ranges_.revoke(kernel_, holders, /*at_least=*/2)), 0u);
  EXPECT_EQ(kernel_.calls("inval"), 3u);
  ASSERT_TRUE(FaultPoint::arm("revoke.inval", {}));
  EXPECT_EQ(ranges_.revoke(kernel_, holders).err(), EIO);
}

TEST_F(FileRangesTest, IsPinnedWhereAPinOverlaps) {
  const uint64_t handle = must(fsdax_.handles().add({.ino = a_}));
  ranges_.add(fsdax_, a_, pages(2, 4));
  FileRanges whole;
  whole.add_all(fsdax_);
  EXPECT_FALSE(ranges_.is_pinned());
  EXPECT_FALSE(whole.is_pinned());
  must(fsdax_.handles().pin(handle, getpid(), pages(0, 2)));
  EXPECT_FALSE(ranges_.is_pinned());
  EXPECT_TRUE(whole.is_pinned());
  must(fsdax_.handles().pin(handle, getpid(), pages(3, 9)));
  EXPECT_TRUE(ranges_.is_pinned());
  fsdax_.claims().remove_pins();
}

}  // namespace
}  // namespace pmemd
