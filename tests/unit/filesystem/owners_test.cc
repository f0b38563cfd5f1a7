// The reverse map: whose a range of the device is, against a plain table of blocks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>

#include <algorithm>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "core/base/units.h"
#include "core/filesystem/paths.h"
#include "tests/unit/filesystem/mounted_fs.h"

namespace pmemd {
namespace {

using ::testing::IsEmpty;

FailedParts owners(MountedFs& fs, const DataRanges& ranges) {
  FailedParts parts;
  must(fs->owners(ranges, parts));
  return parts;
}

TEST(Owners, ARangeInTheMiddleOfAnExtentIsTheFilesPartOfIt) {
  MountedFs fs(4 * kMiB);
  const uint64_t ino = fs.make("a");
  must(fs.write(ino, 40 * kPageSize, std::string(10 * kPageSize, 'a')));
  const auto extents = must(fs->extents(ino));
  ASSERT_EQ(extents.size(), 1u);
  const auto [file, data] = extents[0];
  // Neither end is a block's.
  const auto parts = owners(fs, {{data.begin + 5000, data.begin + 9001}});
  ASSERT_EQ(parts.size(), 1u);
  EXPECT_EQ(parts[0].ino, ino);
  EXPECT_EQ(parts[0].file, (FileRange{file.begin + 5000, file.begin + 9001}));
  EXPECT_EQ(parts[0].data, (DataRange{data.begin + 5000, data.begin + 9001}));
  EXPECT_FALSE(parts[0].is_metadata);
}

TEST(Owners, EdgesAreHalfOpenAndFreeSpaceIsNobodys) {
  MountedFs fs(4 * kMiB);
  EXPECT_THAT(owners(fs, {{0, 4 * kMiB}}), IsEmpty());
  const uint64_t ino = fs.make("a");
  must(fs.write(ino, 0, std::string(2 * kPageSize, 'a')));
  const DataRange data = must(fs->extents(ino))[0].second;
  EXPECT_THAT(owners(fs, {{data.end, data.end + kPageSize}}), IsEmpty());
  EXPECT_THAT(owners(fs, {{data.begin, data.begin}}), IsEmpty());
  EXPECT_EQ(owners(fs, {{data.end - 1, data.end + kPageSize}}).size(), 1u);
  if (data.begin > 0) {
    EXPECT_THAT(owners(fs, {{0, data.begin}}), IsEmpty());
  }
}

// Another namespace of the pool has rows in the same table, and the same offsets.
TEST(Owners, FilesOfOtherNamespacesAreNotTold) {
  MountedFs fs(4 * kMiB);
  const uint64_t ino = fs.make("a");
  must(fs.write(ino, 0, std::string(kPageSize, 'a')));
  {
    MutexLock lock(fs.db().mutex());
    for (const uint64_t serial : {6u, 8u}) {
      must(fs.db().execute("INSERT INTO extents VALUES (" +
                           std::to_string(make_inode_number(serial, 2)) + ", 0, 0, 4194304)"));
    }
  }
  const auto parts = owners(fs, {{0, 4 * kMiB}});
  ASSERT_EQ(parts.size(), 1u);
  EXPECT_EQ(parts[0].ino, ino);
}

TEST(Owners, PathsAreThoseOfLinkedInodesFromTheRoot) {
  MountedFs fs(4 * kMiB);
  const uint64_t dir = fs.make_dir("dir");
  const uint64_t below = fs.make_dir("below", dir);
  const uint64_t file = fs.make("file", below);
  const uint64_t gone = must(fs->tmpfile(fs.root(), 0600, {})).ino;
  const auto paths = must(fs->paths({fs.root(), dir, file, gone}));
  EXPECT_EQ(paths, (std::map<uint64_t, std::string>{
                       {fs.root(), "/"}, {dir, "/dir"}, {file, "/dir/below/file"}}));
}

TEST(Owners, AHintThatLeadsToTheInodeIsItsPath) {
  MountedFs fs(4 * kMiB);
  const uint64_t dir = fs.make_dir("dir");
  const uint64_t file = fs.make("file", dir);
  const uint64_t other = fs.make("two\nlines");
  const uint64_t gone = must(fs->tmpfile(fs.root(), 0600, {})).ino;
  must(fs->link(file, fs.root(), "linked"));
  const auto paths = [&](const Paths& hints) {
    return must(paths_of_inodes(fs.db(), inode_serial(file), 4 * kMiB, hints));
  };
  EXPECT_EQ(paths({{file, "/linked"}}), (Paths{{file, "/linked"}})) << "the name it was opened by";
  EXPECT_EQ(paths({{file, "/dir/file"}}), (Paths{{file, "/dir/file"}}));
  for (const char* const wrong : {"", "/file", "/two\nlines", "file", "/dir", "/dir/file/x"}) {
    const auto found = paths({{file, wrong}});
    ASSERT_EQ(found.size(), 1u) << wrong;
    EXPECT_TRUE(found.at(file) == "/dir/file" || found.at(file) == "/linked") << wrong;
  }
  EXPECT_EQ(paths({{other, "/two\\012lines"}, {gone, "/#7 (deleted)"}, {fs.root(), ""}}),
            (Paths{{other, "/two\nlines"}, {fs.root(), "/"}}));
}

// --- random operations

struct Block {
  uint64_t ino, file_block;
  bool operator==(const Block&) const = default;
};
using Blocks = std::vector<std::optional<Block>>;

class OwnersModel : public testing::Test {
 protected:
  static constexpr uint64_t kSize = 8 * kMiB;
  static constexpr uint64_t kFileBlocks = 700;

  // Which file's each block is, by the extents of the files.
  Blocks table() {
    Blocks blocks(kSize / kPageSize);
    for (const uint64_t ino : files_) {
      for (const auto& [file, data] : must(fs_->extents(ino))) {
        for (uint64_t i = 0; i < file.length() / kPageSize; ++i) {
          auto& block = blocks[data.begin / kPageSize + i];
          EXPECT_FALSE(block.has_value()) << "two files have it";
          block = {ino, file.begin / kPageSize + i};
        }
      }
    }
    return blocks;
  }
  void step() {
    if (files_.size() < 6 && random_() % 4 == 0) {
      names_.push_back("f" + std::to_string(made_++));
      files_.push_back(fs_.make(names_.back()));
      fs_.lookups().add(files_.back());
    }
    if (files_.empty()) return;
    const size_t index = random_() % files_.size();
    const uint64_t ino = files_[index];
    const uint64_t offset = random_() % (kFileBlocks * kPageSize);
    const uint64_t length = 1 + random_() % (60 * kPageSize);
    switch (random_() % 6) {
      case 0:
      case 1:
        (void)fs_.write(ino, offset, std::string(length, 'x'));  // ENOSPC is fine
        break;
      case 2:
        must(fs_->fallocate(ino, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length));
        break;
      case 3:
        must(fs_.truncate(ino, offset));
        break;
      case 4:
        (void)fs_->fallocate(ino, FALLOC_FL_KEEP_SIZE, offset, 4 * length);
        break;
      default:
        if (random_() % 3 != 0) break;
        must(fs_->unlink(fs_.root(), names_[index]));
        EXPECT_TRUE(fs_.lookups().drop(ino, 1));
        fs_->forget(ino);
        files_.erase(files_.begin() + static_cast<ptrdiff_t>(index));
        names_.erase(names_.begin() + static_cast<ptrdiff_t>(index));
    }
  }

  const uint64_t seed_ = std::random_device{}();
  std::mt19937_64 random_{seed_};
  MountedFs fs_{kSize};
  std::vector<uint64_t> files_;
  std::vector<std::string> names_;
  uint64_t made_ = 0;
};

TEST_F(OwnersModel, AgreeWithATableOfBlocksUnderRandomOperations) {
  SCOPED_TRACE(testing::Message() << "seed " << seed_);
  for (int i = 0; i < 150; ++i) {
    step();
    const Blocks blocks = table();
    for (int j = 0; j < 5; ++j) {
      const uint64_t begin = random_() % kSize;
      const DataRange range = {begin, std::min(kSize, begin + 1 + random_() % (512 * kKiB))};
      Blocks told(blocks.size());
      uint64_t last = range.begin;
      for (const FailedPart& part : owners(fs_, {range})) {
        ASSERT_TRUE(range.contains(part.data)) << "clipped";
        ASSERT_GE(part.data.begin, last) << "in order, disjoint";
        ASSERT_EQ(part.data.length(), part.file.length());
        ASSERT_EQ(part.data.begin % kPageSize, part.file.begin % kPageSize);
        last = part.data.end;
        for (uint64_t b = part.data.begin / kPageSize; b * kPageSize < part.data.end; ++b) {
          told[b] = {part.ino, part.file.begin / kPageSize + b - part.data.begin / kPageSize};
        }
        // At its ends nothing is left out that is a file's.
        if (part.data.begin % kPageSize != 0) {
          ASSERT_EQ(part.data.begin, range.begin);
        }
        if (part.data.end % kPageSize != 0) {
          ASSERT_EQ(part.data.end, range.end);
        }
      }
      for (uint64_t b = range.begin / kPageSize; b * kPageSize < range.end; ++b) {
        ASSERT_EQ(told[b], blocks[b]) << "block " << b;
      }
    }
  }
}

// Ranges far apart, close together, in order or not: as if each had been asked for alone.
TEST_F(OwnersModel, AListIsWhatItsRangesAreOneByOne) {
  SCOPED_TRACE(testing::Message() << "seed " << seed_);
  for (int i = 0; i < 150; ++i) {
    step();
    DataRanges ranges;
    const uint64_t gap = 1 + random_() % (i % 2 == 0 ? 4 * kPageSize : kSize / 8);
    for (uint64_t begin = random_() % gap; begin < kSize;) {
      const uint64_t end = std::min(kSize, begin + 1 + random_() % (8 * kPageSize));
      ranges.push_back({begin, end});
      begin = end + random_() % gap;
    }
    if (i % 3 == 0) std::ranges::shuffle(ranges, random_);
    FailedParts one_by_one;
    for (const DataRange& range : ranges) {
      for (const FailedPart& part : owners(fs_, {range})) one_by_one.push_back(part);
    }
    ASSERT_EQ(owners(fs_, ranges), one_by_one) << ranges.size() << " ranges";
  }
}

}  // namespace
}  // namespace pmemd
