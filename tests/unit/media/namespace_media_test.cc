#include "core/media/namespace_media.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "core/base/fault.h"
#include "tests/unit/media/media_fixture.h"

namespace pmemd {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Writer = Media::Writer;
using Reader = Media::Reader;

class NamespaceMediaTest : public testing::Test {
 protected:
  NamespaceMediaTest() { StoredMedia::create(directory_.path()); }
  void SetUp() override {
    stored_ = std::make_unique<StoredMedia>(directory_.path());
    {
      MutexLock lock(stored_->db().mutex());
      must(stored_->db().execute("PRAGMA synchronous = OFF"));
    }
    must(stored_->write(0, std::string(64 * kKiB, 'o')));
  }
  ~NamespaceMediaTest() override { FaultPoint::disarm_all(); }

  NamespaceMedia& media() { return stored_->media(); }
  int read_error(DataRange range) { return stored_->read(range).err(); }
  std::string bytes(DataRange range) { return must(stored_->read(range)); }

  const TemporaryDirectory directory_{TemporaryDirectory::Place::kInMemory};
  std::unique_ptr<StoredMedia> stored_;
};

TEST_F(NamespaceMediaTest, AReadThatTouchesABadByteIsEIOAndNextToItIsNot) {
  for (const bool is_known : {false, true}) {
    must(stored_->inject({1024, 1536}, is_known));
    EXPECT_EQ(read_error({0, 1024}), 0);
    EXPECT_EQ(read_error({0, 1025}), EIO);
    EXPECT_EQ(read_error({1535, 1536}), EIO);
    EXPECT_EQ(read_error({1536, 8192}), 0);
    EXPECT_EQ(read_error({0, 8192}), EIO);
    std::vector<iovec> parts;
    EXPECT_EQ(media().view({0, 4096}, Reader::kProgram, parts).err(), EIO);
    EXPECT_TRUE(parts.empty());
    EXPECT_EQ(media().view({0, 1024}, Reader::kProgram, parts).err(), 0);
    EXPECT_EQ(parts.size(), 1u);
    EXPECT_THAT(media().bad({0, 8192}), ElementsAre(DataRange{1024, 1536}));
  }
}

// Errors of the neighbours, which touch the data area from both sides.
TEST_F(NamespaceMediaTest, ErrorsOutsideOfTheDataAreaAreNotItsOwn) {
  constexpr uint64_t kEnd = StoredMedia::kDataBegin + StoredMedia::kDataSize;
  must(stored_->errors().inject(
      {{StoredMedia::kDataBegin - 512, StoredMedia::kDataBegin}, {kEnd, kEnd + 512}},
      {{StoredMedia::kDataBegin - 512, StoredMedia::kDataBegin}}));
  EXPECT_THAT(media().bad({0, StoredMedia::kDataSize}), IsEmpty());
  EXPECT_EQ(read_error({0, 4096}), 0);
  must(media().zero({0, StoredMedia::kDataSize}));
  EXPECT_TRUE(stored_->errors().is_bad({StoredMedia::kDataBegin - 512, StoredMedia::kDataBegin}));
}

TEST_F(NamespaceMediaTest, OnlyAProgramsReadMakesALatentErrorKnown) {
  must(stored_->inject({1024, 1536}, false));
  EXPECT_EQ(read_error({0, 512}), 0);
  std::vector<iovec> parts;
  EXPECT_EQ(media().view({0, 8192}, Reader::kReadahead, parts).err(), EIO);
  EXPECT_THAT(stored_->told.latent, IsEmpty());
  EXPECT_EQ(media().view({0, 4096}, Reader::kProgram, parts).err(), EIO);
  EXPECT_EQ(read_error({1024, 1025}), EIO);
  EXPECT_THAT(stored_->told.latent_ranges(),
              ElementsAre(DataRange{0, 4096}, DataRange{1024, 1025}));
  must(stored_->errors().discover({stored_->in_region({1024, 1536})}));
  EXPECT_EQ(read_error({1024, 1025}), EIO);
  EXPECT_EQ(stored_->told.latent.size(), 2u) << "it is known by now";
}

TEST_F(NamespaceMediaTest, AWriteOfWholeClearUnitsClearsAndPartOfOneIsEIO) {
  for (const uint64_t unit : {256u, 512u, 4096u}) {
    SCOPED_TRACE(unit);
    media().set_clear_unit(unit);
    must(stored_->inject({8192, 8192 + unit}, true));
    EXPECT_EQ(stored_->write(8192, std::string(unit - 1, 'n')).err(), EIO);
    EXPECT_EQ(stored_->write(8193, std::string(unit, 'n')).err(), EIO);
    EXPECT_EQ(stored_->write(8192 + unit - 1, "nn").err(), EIO);
    EXPECT_EQ(stored_->stored({8192, 8192 + 2 * unit}), std::string(2 * unit, 'o'))
        << "nothing of a refused write is stored";
    EXPECT_EQ(read_error({8192, 8193}), EIO);
    must(stored_->write(8190, std::string(unit + 2, 'n')));
    EXPECT_EQ(bytes({8190, 8192 + unit}), std::string(unit + 2, 'n'));
    must(stored_->write(8190, std::string(unit + 2, 'o')));
  }
}

// Clear units of 256 bytes, in a record of 512: a sector is bad until both halves are written.
TEST_F(NamespaceMediaTest, HalvesOfAKnownSectorAreWrittenOneByOneAndReadableTogether) {
  media().set_clear_unit(256);
  must(stored_->inject({0, 512}, true));
  must(stored_->write(0, std::string(256, 'a')));
  EXPECT_EQ(read_error({0, 256}), EIO);
  must(stored_->write(256, std::string(256, 'b')));
  EXPECT_EQ(bytes({0, 512}), std::string(256, 'a') + std::string(256, 'b'));
}

TEST_F(NamespaceMediaTest, WritebackNeverClearsAndDropsOnlyBadBytes) {
  must(stored_->inject({512, 1024}, true));
  must(stored_->inject({2000, 2001}, false));
  must(stored_->write(0, std::string(4096, 'm'), Writer::kWriteback));
  EXPECT_THAT(media().bad({0, 4096}), ElementsAre(DataRange{512, 1024}, DataRange{2000, 2001}));
  EXPECT_EQ(stored_->stored({0, 4096}), std::string(512, 'm') + std::string(512, 'o') +
                                            std::string(976, 'm') + "o" + std::string(2095, 'm'));
  // All of it bad: all of it dropped, and no error.
  must(stored_->write(512, std::string(512, 'x'), Writer::kWriteback));
  EXPECT_EQ(stored_->stored({512, 1024}), std::string(512, 'o'));
}

TEST_F(NamespaceMediaTest, ZeroAndDiscardClear) {
  must(stored_->inject({512, 1024}, true));
  EXPECT_EQ(media().zero({512, 1023}).err(), EIO);
  must(media().zero({512, 1024}));
  EXPECT_EQ(bytes({0, 1536}),
            std::string(512, 'o') + std::string(512, '\0') + std::string(512, 'o'));
  must(stored_->inject({8192, 8200}, false));
  must(media().discard({8192, 12288}));
  EXPECT_EQ(bytes({8192, 12288}), std::string(4096, '\0'));
  EXPECT_THAT(media().bad({0, 64 * kKiB}), IsEmpty());
}

TEST_F(NamespaceMediaTest, AllocateLeavesGoodBytesAloneAndGivesZerosForBadOnes) {
  must(media().allocate({0, 4096}));
  EXPECT_EQ(bytes({0, 4096}), std::string(4096, 'o')) << "nothing was bad";
  must(stored_->inject({5000, 5001}, true));
  must(media().allocate({4096, 8192}));
  EXPECT_EQ(bytes({4096, 8192}), std::string(4096, '\0'));
}

TEST_F(NamespaceMediaTest, DropTakesTheBytesAndLeavesTheErrors) {
  must(stored_->inject({512, 1024}, true));
  must(stored_->inject({2048, 2049}, false));
  must(media().drop({0, 4096}));
  EXPECT_THAT(media().bad({0, 4096}), ElementsAre(DataRange{512, 1024}, DataRange{2048, 2049}));
  EXPECT_EQ(bytes({0, 512}), std::string(512, '\0'));
  must(stored_->errors().uninject({stored_->in_region({2048, 2049})}));
  EXPECT_EQ(bytes({2048, 2049}), std::string(1, '\0')) << "no old byte is back";
}

TEST_F(NamespaceMediaTest, ClearMakesGoodWhatIsKnownAndOnlyThat) {
  must(stored_->inject({512, 1024}, true));
  must(stored_->inject({8192, 8704}, true));
  must(stored_->inject({4096, 4097}, false));
  EXPECT_EQ(must(media().clear({{0, 64 * kKiB}})), 1024u);
  EXPECT_THAT(media().bad({0, 64 * kKiB}), ElementsAre(DataRange{4096, 4097}));
  EXPECT_EQ(bytes({0, 1536}),
            std::string(512, 'o') + std::string(512, '\0') + std::string(512, 'o'));
  EXPECT_EQ(must(media().clear({{0, 64 * kKiB}})), 0u);
}

TEST_F(NamespaceMediaTest, WhatCannotBeClearedIsEIOForAllButWriteback) {
  must(stored_->inject({0, 4096}, true));
  media().set_clearable(false);
  EXPECT_EQ(stored_->write(0, std::string(4096, 'n')).err(), EIO);
  EXPECT_EQ(media().zero({0, 4096}).err(), EIO);
  EXPECT_EQ(media().discard({0, 4096}).err(), EIO);
  EXPECT_EQ(media().allocate({0, 4096}).err(), EIO);
  EXPECT_EQ(media().clear({{0, 8192}}).err(), EIO);
  must(stored_->write(0, std::string(4096, 'n'), Writer::kWriteback));
  EXPECT_EQ(stored_->stored({0, 4096}), std::string(4096, 'o'));
  EXPECT_THAT(media().bad({0, 8192}), ElementsAre(DataRange{0, 4096}));
  must(stored_->write(4096, std::string(4096, 'n')));
  must(media().drop({0, 4096}));
  media().set_clearable(true);
  must(media().zero({0, 4096}));
}

TEST_F(NamespaceMediaTest, TellsWhatAWriteHasMadeGoodIfAnyOfItWasKnown) {
  auto& told = stored_->told.cleared;
  must(stored_->inject({512, 1024}, false));
  must(stored_->write(0, std::string(4096, 'n')));
  EXPECT_THAT(told, IsEmpty()) << "nobody knew of it";
  must(stored_->inject({512, 1024}, true));
  must(stored_->inject({2048, 2560}, true));
  must(stored_->inject({4096, 4608}, true));
  EXPECT_EQ(stored_->write(600, std::string(4096, 'n')).err(), EIO);
  must(stored_->write(0, std::string(4096, 'w'), Writer::kWriteback));
  EXPECT_THAT(told, IsEmpty());
  must(stored_->write(0, std::string(4096, 'n')));
  ASSERT_EQ(told.size(), 1u);
  EXPECT_THAT(told[0].second, ElementsAre(DataRange{512, 1024}, DataRange{2048, 2560}));
  must(media().discard({4096, 8192}));
  ASSERT_EQ(told.size(), 2u);
  EXPECT_THAT(told[1].second, ElementsAre(DataRange{4096, 4608}));
  must(stored_->write(0, std::string(8192, 'n')));
  EXPECT_EQ(told.size(), 2u) << "nothing was bad";
}

// --- against a plain model

struct Model {
  static constexpr uint64_t kCell = 256, kCells = 128, kSize = kCell * kCells;

  bool is_bad(uint64_t byte) const { return injected[byte / kCell] || known[byte / kSectorSize]; }
  bool is_any_bad(DataRange range) const {
    for (uint64_t i = range.begin; i < range.end; ++i) {
      if (is_bad(i)) return true;
    }
    return false;
  }
  // A program's write: whether it may; then its bytes and what it makes good.
  bool may_write(DataRange range, uint64_t unit, bool is_clearable) const {
    for (uint64_t i = range.begin; i < range.end; ++i) {
      if (!is_bad(i)) continue;
      const uint64_t begin = i / unit * unit;
      if (!is_clearable || begin < range.begin || begin + unit > range.end) return false;
    }
    return true;
  }
  void make_good(DataRange range) {
    if (!is_any_bad(range)) return;
    for (uint64_t c = 0; c < kCells; ++c) {
      if (range.contains(DataRange::sized(c * kCell, kCell))) injected[c] = false;
    }
    for (uint64_t s = range.begin / kSectorSize; s * kSectorSize < range.end; ++s) {
      if (!injected[2 * s] && !injected[2 * s + 1]) known[s] = false;
    }
  }

  std::string bytes = std::string(kSize, 'o');
  std::array<bool, kCells> injected{};
  std::array<bool, kCells / 2> known{};
};

class NamespaceMediaModelTest : public NamespaceMediaTest,
                                public testing::WithParamInterface<uint64_t> {
 protected:
  // Often at the edges of something.
  DataRange random_range() {
    static constexpr std::array<uint64_t, 6> kAligns = {1, 128, 256, 512, 4096, 4096};
    const uint64_t align = kAligns[random_() % kAligns.size()];
    const uint64_t begin = random_() % Model::kSize / align * align;
    const uint64_t length = (1 + random_() % (1 + 12'000 / align)) * align;
    return {begin, std::min(begin + length, Model::kSize)};
  }
  static DataRange pages_of(DataRange range) {
    return {align_down(range.begin, kPageSize), align_up(range.end, kPageSize)};
  }
  void step();
  void change_errors(DataRange range);
  void store(DataRange range, int err, char byte);

  const uint64_t unit_ = GetParam();
  const uint64_t seed_ = std::random_device{}();
  std::mt19937_64 random_{seed_};
  Model model_;
  bool is_clearable_ = true;
};

// A write, zeroing or discard of a program has returned `err`.
void NamespaceMediaModelTest::store(DataRange range, int err, char byte) {
  const bool may = model_.may_write(range, unit_, is_clearable_);
  ASSERT_EQ(err, may ? 0 : EIO);
  if (!may) return;
  std::fill_n(model_.bytes.begin() + static_cast<ptrdiff_t>(range.begin), range.length(), byte);
  model_.make_good(range);
}

void NamespaceMediaModelTest::change_errors(DataRange range) {
  const DataRange cells = {align_down(range.begin, Model::kCell),
                           align_up(range.end, Model::kCell)};
  const RegionRange in_region = stored_->in_region(cells);
  switch (random_() % 3) {
    case 0:
      must(stored_->errors().uninject({in_region}));
      for (uint64_t c = cells.begin / Model::kCell; c < cells.end / Model::kCell; ++c) {
        model_.injected[c] = false;
      }
      return;
    case 1:
      must(stored_->errors().discover({in_region}));
      for (uint64_t s = cells.begin / kSectorSize; s * kSectorSize < cells.end; ++s) {
        if (model_.injected[2 * s] || model_.injected[2 * s + 1]) model_.known[s] = true;
      }
      return;
    default:
      if (cells.length() > 2048) return;
      const bool is_known = random_() % 2 == 0;
      must(stored_->inject(cells, is_known));
      for (uint64_t c = cells.begin / Model::kCell; c < cells.end / Model::kCell; ++c) {
        model_.injected[c] = true;
        if (is_known) model_.known[c / 2] = true;
      }
  }
}

void NamespaceMediaModelTest::step() {
  const DataRange range = random_range();
  const char byte = static_cast<char>('a' + random_() % 26);
  const std::string data(range.length(), byte);
  switch (random_() % 8) {
    case 0:
    case 1:
      return store(range, stored_->write(range.begin, data).err(), byte);
    case 2:
      must(stored_->write(range.begin, data, Writer::kWriteback));
      for (uint64_t i = range.begin; i < range.end; ++i) {
        if (!model_.is_bad(i)) model_.bytes[i] = byte;
      }
      return;
    case 3:
      return store(range, media().zero(range).err(), '\0');
    case 4:
      return store(pages_of(range), media().discard(pages_of(range)).err(), '\0');
    case 5: {
      const auto got = stored_->read(range);
      ASSERT_EQ(got.err(), model_.is_any_bad(range) ? EIO : 0);
      if (got) {
        ASSERT_EQ(*got, model_.bytes.substr(range.begin, range.length()));
      }
      return;
    }
    case 6:
      is_clearable_ = random_() % 4 != 0;
      media().set_clearable(is_clearable_);
      return change_errors(range);
    default:
      return change_errors(range);
  }
}

TEST_P(NamespaceMediaModelTest, EachOperationDoesWhatItDoesByteByByte) {
  SCOPED_TRACE(testing::Message() << "seed " << seed_);
  media().set_clear_unit(unit_);
  for (int i = 0; i < 400; ++i) {
    SCOPED_TRACE(testing::Message() << "step " << i);
    ASSERT_NO_FATAL_FAILURE(step());
    ASSERT_EQ(stored_->stored({0, Model::kSize}), model_.bytes) << "bad or not";
    RangeSet<DataSpace> bad;
    for (uint64_t c = 0; c < Model::kCells; ++c) {
      if (model_.is_bad(c * Model::kCell)) {
        bad.insert(DataRange::sized(c * Model::kCell, Model::kCell));
      }
    }
    ASSERT_EQ(media().bad({0, Model::kSize}), bad.ranges());
  }
}

INSTANTIATE_TEST_SUITE_P(ClearUnits, NamespaceMediaModelTest, testing::Values(256, 512, 4096));

}  // namespace
}  // namespace pmemd
