#include "core/media/volume_media.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "core/range/range_set.h"

namespace pmemd {
namespace {

constexpr uint64_t kLegBytes = 64 * kKiB;
using Bytes = std::vector<std::byte>;

// A leg in memory, whose bad bytes can't be had and aren't written.
class FakeLeg final : public Media {
 public:
  bool is_there = true;
  bool takes_writeback_only = false;
  bool fails_persist = false;
  Bytes bytes = Bytes(kLegBytes);
  RangeSet<DataSpace> bad_bytes;
  int persists = 0;

  uint64_t size_bytes() const override { return kLegBytes; }
  Result<void> read(uint64_t offset, std::span<std::byte> to) override {
    if (bad_bytes.overlaps(DataRange::sized(offset, to.size()))) return fail(EIO);
    std::copy_n(bytes.begin() + static_cast<ptrdiff_t>(offset), to.size(), to.begin());
    return {};
  }
  Result<void> view(DataRange range, Reader /*reader*/, std::vector<iovec>& parts) override {
    if (bad_bytes.overlaps(range)) return fail(EIO);
    parts.push_back({bytes.data() + range.begin, range.length()});
    return {};
  }
  Result<void> write(uint64_t offset, std::span<const std::byte> data, Writer writer) override {
    if (writer == Writer::kProgram && bad_bytes.overlaps(DataRange::sized(offset, data.size()))) {
      return fail(EIO);
    }
    std::ranges::copy(data, bytes.begin() + static_cast<ptrdiff_t>(offset));
    return {};
  }
  Result<void> zero(DataRange range) override {
    std::fill_n(bytes.begin() + static_cast<ptrdiff_t>(range.begin), range.length(), std::byte{0});
    return {};
  }
  Result<void> persist(DataRange /*range*/) override {
    ++persists;
    return fails_persist ? fail(ENOSPC) : Result<void>();
  }
  Result<void> allocate(DataRange range) override { return zero(range); }
  Result<void> discard(DataRange range) override { return zero(range); }
  Result<void> drop(DataRange range) override { return zero(range); }
  Result<uint64_t> clear(const std::vector<DataRange>& ranges) override {
    const uint64_t before = bad_bytes.bytes();
    for (const DataRange& range : ranges) bad_bytes.erase(range);
    return before - bad_bytes.bytes();
  }
  std::vector<DataRange> bad(DataRange range) const override { return bad_bytes.intersect(range); }
};

class VolumeMediaTest : public testing::TestWithParam<VolumeType> {
 protected:
  VolumeMediaTest() {
    std::vector<VolumeMedia::LegMedia> media;
    media.reserve(legs_.size());
    for (FakeLeg& leg : legs_) {
      media.emplace_back([&leg](Media::Writer writer) -> Media* {
        const bool takes = !leg.takes_writeback_only || writer == Media::Writer::kWriteback;
        return leg.is_there && takes ? &leg : nullptr;
      });
    }
    media_ = std::make_unique<VolumeMedia>(table(), std::move(media));
  }
  static VolumeTable table() {
    const uint64_t chunk = GetParam() == VolumeType::kStriped ? 8 * kKiB : 0;
    return *VolumeTable::make(GetParam(), chunk, {kLegBytes, kLegBytes, kLegBytes});
  }

  Bytes random_bytes(size_t size) {
    Bytes bytes(size);
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random_());
    return bytes;
  }
  // A byte of the second leg.
  uint64_t on_second_leg() const { return table().rmap(1, {4 * kKiB, 4 * kKiB + 1}).at(0).begin; }
  Bytes all_of(std::vector<iovec> parts) {
    Bytes bytes;
    for (const iovec& part : parts) {
      const auto* begin = static_cast<const std::byte*>(part.iov_base);
      bytes.insert(bytes.end(), begin, begin + part.iov_len);
    }
    return bytes;
  }

  unsigned seed_ = std::random_device()();
  std::mt19937 random_{seed_};
  std::array<FakeLeg, 3> legs_;
  std::unique_ptr<VolumeMedia> media_;
  const DataRange whole_ = {0, 3 * kLegBytes};
};
INSTANTIATE_TEST_SUITE_P(Types, VolumeMediaTest, testing::ValuesIn(kVolumeTypes),
                         [](const auto& one) { return std::string(to_string(one.param)); });

TEST_P(VolumeMediaTest, ReadsAndWritesAreThoseOfOneArray) {
  SCOPED_TRACE("seed " + std::to_string(seed_));
  Bytes model(whole_.length());
  for (int i = 0; i < 200; ++i) {
    const uint64_t begin = random_() % model.size();
    const uint64_t length = random_() % std::min<uint64_t>(model.size() - begin, 40'000) + 1;
    const auto range = DataRange::sized(begin, std::min(length, model.size() - begin));
    const auto at = model.begin() + static_cast<ptrdiff_t>(range.begin);
    switch (random_() % 4) {
      case 0: {
        ASSERT_TRUE(media_->zero(range));
        std::fill_n(at, range.length(), std::byte{0});
        break;
      }
      case 1: {
        std::vector<iovec> parts;
        ASSERT_TRUE(media_->view(range, Media::Reader::kProgram, parts));
        ASSERT_TRUE(std::ranges::equal(all_of(parts), std::span(&*at, range.length())));
        break;
      }
      case 2: {
        Bytes found(range.length());
        ASSERT_TRUE(media_->read(range.begin, found));
        ASSERT_TRUE(std::ranges::equal(found, std::span(&*at, range.length())));
        break;
      }
      default: {
        const Bytes data = random_bytes(range.length());
        const auto writer =
            random_() % 2 == 0 ? Media::Writer::kProgram : Media::Writer::kWriteback;
        ASSERT_TRUE(media_->write(range.begin, data, writer));
        std::ranges::copy(data, at);
      }
    }
  }
  Bytes found(whole_.length());
  ASSERT_TRUE(media_->read(0, found));
  EXPECT_EQ(found, model);
}

TEST_P(VolumeMediaTest, AGoneLegFailsItsOwnBytesOnly) {
  const Bytes before = random_bytes(whole_.length());
  ASSERT_TRUE(media_->write(0, before, Media::Writer::kProgram));
  legs_[1].is_there = false;
  Bytes byte(1);
  for (uint64_t at = 0; at < whole_.end; at += 4 * kKiB) {
    const bool gone = table().map({at, at + 1}).at(0).leg == 1;
    EXPECT_EQ(media_->read(at, byte).err(), gone ? EIO : 0) << at;
    EXPECT_EQ(media_->bad({at, at + 4 * kKiB}).empty(), !gone);
    EXPECT_EQ(media_->allocate({at, at + 4 * kKiB}).err(), gone ? EIO : 0);
  }
  std::vector<iovec> parts;
  EXPECT_EQ(media_->view(whole_, Media::Reader::kReadahead, parts).err(), EIO);
  EXPECT_EQ(media_->zero(whole_).err(), EIO);
  EXPECT_EQ(media_->discard(whole_).err(), EIO);
  EXPECT_EQ(media_->drop(whole_).err(), EIO);
  EXPECT_EQ(media_->clear({whole_}).err(), EIO);
}

TEST_P(VolumeMediaTest, AWriteThatReachesOverAGoneLegStoresNothing) {
  const Bytes before = random_bytes(whole_.length());
  ASSERT_TRUE(media_->write(0, before, Media::Writer::kProgram));
  legs_[1].is_there = false;
  EXPECT_EQ(media_->write(0, Bytes(whole_.length()), Media::Writer::kProgram).err(), EIO);
  legs_[1].is_there = true;
  Bytes found(whole_.length());
  ASSERT_TRUE(media_->read(0, found));
  EXPECT_EQ(found, before);
}

TEST_P(VolumeMediaTest, WritebackStoresWhatItCanAndTellsOfTheRest) {
  legs_[1].is_there = false;
  const Bytes data = random_bytes(whole_.length());
  EXPECT_EQ(media_->write(0, data, Media::Writer::kWriteback).err(), EIO);
  legs_[1].is_there = true;
  Bytes found(whole_.length());
  ASSERT_TRUE(media_->read(0, found));
  for (uint64_t at = 0; at < whole_.end; ++at) {
    const bool lost = table().map({at, at + 1}).at(0).leg == 1;
    ASSERT_EQ(found[at], lost ? std::byte{0} : data[at]) << at;
  }
}

TEST_P(VolumeMediaTest, ALegThatIsGoingTakesWritebackOnly) {
  legs_[1].takes_writeback_only = true;
  Bytes byte(1);
  EXPECT_EQ(media_->read(on_second_leg(), byte).err(), EIO);
  EXPECT_EQ(media_->write(on_second_leg(), byte, Media::Writer::kProgram).err(), EIO);
  EXPECT_EQ(media_->write(on_second_leg(), byte, Media::Writer::kWriteback).err(), 0);
}

TEST_P(VolumeMediaTest, BadBytesAreTheLegsInOrderAndMerged) {
  legs_[0].bad_bytes.insert({4 * kKiB, 12 * kKiB});
  legs_[1].is_there = false;
  RangeSet<DataSpace> expected;
  for (const DataRange& part : table().rmap(0, {4 * kKiB, 12 * kKiB})) expected.insert(part);
  for (const DataRange& part : table().rmap(1, {0, kLegBytes})) expected.insert(part);
  EXPECT_EQ(media_->bad(whole_), expected.ranges());
  legs_[1].is_there = true;
  EXPECT_EQ(media_->clear({whole_}), 8 * kKiB);
  EXPECT_TRUE(media_->bad(whole_).empty());
}

TEST_P(VolumeMediaTest, PersistsOnEachLegThatItCanThoughOneFails) {
  legs_[0].fails_persist = true;
  EXPECT_EQ(media_->persist(whole_).err(), ENOSPC);
  for (const FakeLeg& leg : legs_) EXPECT_EQ(leg.persists, 1);
  legs_[0].is_there = false;
  EXPECT_EQ(media_->persist(whole_).err(), EIO);
  EXPECT_EQ(legs_[2].persists, 2);
}

}  // namespace
}  // namespace pmemd
