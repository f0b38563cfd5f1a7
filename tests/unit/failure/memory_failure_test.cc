// The kernel's errnos, and no reference left: on every path the count afterwards is the one before.
#include "core/failure/memory_failure.h"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "core/base/units.h"
#include "tests/unit/pagemap/units.h"

namespace pmemd {
namespace {

// A pagemap whose handlers say what they are told to, and remember what they were asked.
class FakeMemory {
 public:
  explicit FakeMemory(PagemapRegistry& registry, DevPagemap::Setup setup) : registry_(registry) {
    setup.ops.memory_failure = [this](const PhysRanges& ranges, unsigned mf_flags,
                                      FailedParts& parts) {
      EXPECT_GT(map_->references(), 0u) << "it can't go while it is asked";
      asked.push_back(ranges);
      flags = mf_flags;
      parts.push_back({.ino = 1, .file = {}, .data = {}});
      return err == 0 ? Result<void>() : fail(err);
    };
    setup.ops.page_mapping = [this](const PhysRanges& ranges, FailedParts& parts) {
      last_resort.push_back(ranges);
      parts.push_back({.ino = 2, .file = {}, .data = {}});
    };
    setup.ops.page_free = [](PhysRange) {};
    setup.ops.migrate_to_ram = [](PhysRange) { return Result<void>(); };
    setup.owner = this;
    map_ = std::make_unique<DevPagemap>(std::move(setup));
    EXPECT_TRUE(registry_.memremap_pages(*map_));
  }
  ~FakeMemory() { EXPECT_TRUE(registry_.memunmap_pages(*map_, Clock::now())); }

  DevPagemap& map() { return *map_; }

  int err = 0;
  unsigned flags = 0;
  std::vector<PhysRanges> asked, last_resort;  // a list for each call

 private:
  PagemapRegistry& registry_;
  std::unique_ptr<DevPagemap> map_;
};

// Subsections 0-3: System RAM, in a section with nothing else. In section 1: two devices side by
// side, with metadata and without.
class MemoryFailureTest : public testing::Test {
 protected:
  static constexpr uint64_t kFirst = kSectionSize / kUnit;

  MemoryFailureTest() { EXPECT_TRUE(registry_.add_system_ram(units(0, 4))); }

  // What it returns; and whether it left a reference of any of the pagemaps behind.
  int fail_memory(PhysRange range, unsigned mf_flags = 0, PagemapRef held = {}) {
    return fail_memory(PhysRanges{range}, mf_flags, std::move(held));
  }
  int fail_memory(const PhysRanges& ranges, unsigned mf_flags = 0, PagemapRef held = {}) {
    parts_.clear();
    const int err = memory_failure(registry_, ranges, mf_flags, parts_, std::move(held)).err();
    EXPECT_TRUE(err == 0 || parts_.empty()) << "after an error nothing was added";
    for (auto* memory : {&fsdax_, &plain_}) EXPECT_EQ(memory->map().references(), 0u);
    return err;
  }
  PagemapRef reference(PhysRange of) { return registry_.get_dev_pagemap(Pfn::of(of.begin)); }

  const PhysRange data_ = {(kFirst + 1) * kUnit, (kFirst + 4) * kUnit};
  const PhysRange metadata_ = units(kFirst, kFirst + 1);
  const PhysRange data_of_plain_ = units(kFirst + 4, kFirst + 6);

  PagemapRegistry registry_;
  FakeMemory fsdax_{registry_,
                    {.name = "fsdax",
                     .type = MemoryType::kFsDax,
                     .ranges = {units(kFirst, kFirst + 4)},
                     .metadata_bytes = kUnit}};
  FakeMemory plain_{
      registry_,
      {.name = "plain", .type = MemoryType::kGeneric, .ranges = {units(kFirst + 4, kFirst + 6)}}};
  FailedParts parts_;
};

TEST_F(MemoryFailureTest, AsksThePagemapOnceForTheWholeRange) {
  EXPECT_EQ(fail_memory(data_, kMfActionRequired), 0);
  EXPECT_EQ(fsdax_.asked, std::vector<PhysRanges>{{data_}});
  EXPECT_EQ(fsdax_.flags, kMfActionRequired);
  EXPECT_TRUE(fsdax_.last_resort.empty());
  ASSERT_EQ(parts_.size(), 1u);
  EXPECT_EQ(parts_[0].ino, 1u);
}

TEST_F(MemoryFailureTest, RangeOverSeveralPagemapsAsksEachOnceAtItsEdge) {
  const PhysRange over = {data_.end - kPageSize, data_.end + 3 * kPageSize};
  EXPECT_EQ(fail_memory(over), 0);
  EXPECT_EQ(fsdax_.asked, (std::vector<PhysRanges>{{{over.begin, data_.end}}}));
  EXPECT_EQ(plain_.asked, (std::vector<PhysRanges>{{{data_.end, over.end}}}));
}

TEST_F(MemoryFailureTest, RangesOfOnePagemapAreOneCall) {
  PhysRanges ranges;
  for (uint64_t begin = data_.begin; begin < data_.end; begin += 2 * kPageSize) {
    ranges.push_back(PhysRange::sized(begin, kPageSize));
  }
  const PhysRange behind = PhysRange::sized(data_of_plain_.begin, kPageSize);
  PhysRanges all = ranges;
  all.push_back(behind);
  EXPECT_EQ(fail_memory(all), 0);
  EXPECT_EQ(fsdax_.asked, std::vector<PhysRanges>{ranges});
  EXPECT_EQ(plain_.asked, (std::vector<PhysRanges>{{behind}}));
  EXPECT_EQ(parts_.size(), 2u);
}

// Whichever of them it is, nobody is told of the others.
TEST_F(MemoryFailureTest, OneBadRangeOfAListIsItsError) {
  const PhysRange good = PhysRange::sized(data_.begin, kPageSize);
  const PhysRange other = PhysRange::sized(data_.begin + 4 * kPageSize, kPageSize);
  for (const auto& [bad, err] :
       {std::pair(PhysRange::sized(metadata_.begin, kPageSize), ENXIO),
        std::pair(units(1000, 1001), ENXIO), std::pair(PhysRange{kUnit, kUnit + kPageSize}, EBUSY),
        std::pair(PhysRange{data_.begin, data_.begin}, EINVAL)}) {
    for (const PhysRanges& ranges : {PhysRanges{bad, good, other}, PhysRanges{good, bad, other},
                                     PhysRanges{good, other, bad}}) {
      EXPECT_EQ(fail_memory(ranges), err);
    }
  }
  EXPECT_TRUE(fsdax_.asked.empty());
}

TEST_F(MemoryFailureTest, EachRangeOfOnePagemapIsAskedFor) {
  FakeMemory two(registry_, {.name = "two", .ranges = {units(256, 257), units(258, 259)}});
  FakeMemory between(registry_, {.name = "between", .ranges = {units(257, 258)}});
  EXPECT_EQ(fail_memory(units(256, 259)), 0);
  EXPECT_EQ(two.asked, (std::vector<PhysRanges>{{units(256, 257)}, PhysRanges{units(258, 259)}}));
  EXPECT_EQ(between.asked, (std::vector<PhysRanges>{{units(257, 258)}}));
  EXPECT_EQ(two.map().references() + between.map().references(), 0u);
}

TEST_F(MemoryFailureTest, MetadataIsENXIOAndNobodyIsAsked) {
  for (const PhysRange range : {PhysRange{metadata_.begin, metadata_.begin + kPageSize},
                                PhysRange{metadata_.end - kPageSize, metadata_.end},
                                PhysRange{metadata_.end - kPageSize, metadata_.end + kPageSize}}) {
    EXPECT_EQ(fail_memory(range), ENXIO);
  }
  EXPECT_EQ(fail_memory({metadata_.end, metadata_.end + kPageSize}), 0) << "just behind it";
  EXPECT_EQ(fsdax_.asked.size(), 1u);
}

TEST_F(MemoryFailureTest, PfnOfNoPagemapIsENXIO) {
  EXPECT_EQ(fail_memory(units(1000, 1001)), ENXIO);
  EXPECT_EQ(fail_memory(units(4, 5)), ENXIO) << "a hole beside System RAM";
  EXPECT_EQ(fail_memory({kPhysicalAddressEnd - kPageSize, kPhysicalAddressEnd}), ENXIO);
  // The first page is good, one behind it isn't: nobody is told of half.
  EXPECT_EQ(fail_memory({data_of_plain_.begin, data_of_plain_.end + kPageSize}), ENXIO);
  EXPECT_TRUE(plain_.asked.empty());
}

TEST_F(MemoryFailureTest, SystemRamIsEBUSYAlsoBehindADevice) {
  EXPECT_EQ(fail_memory({kUnit, kUnit + kPageSize}), EBUSY);
  FakeMemory before_ram(registry_, {.name = "before", .ranges = {units(640, 704)}});
  ASSERT_TRUE(registry_.add_system_ram(units(704, 705)));
  EXPECT_EQ(fail_memory(units(703, 705)), EBUSY);
  EXPECT_TRUE(before_ram.asked.empty());
  EXPECT_EQ(before_ram.map().references(), 0u);
}

TEST_F(MemoryFailureTest, DyingPagemapIsENXIO) {
  FakeMemory dying(registry_, {.name = "dying", .ranges = {units(256, 258)}});
  EXPECT_EQ(fail_memory(units(256, 257)), 0);
  dying.map().ref().kill();
  EXPECT_EQ(fail_memory(units(256, 257)), ENXIO);
  EXPECT_EQ(dying.asked.size(), 1u);
  EXPECT_TRUE(registry_.memunmap_pages(dying.map(), Clock::now())) << "no reference holds it up";
  EXPECT_EQ(fail_memory(units(256, 257)), ENXIO);
}

TEST_F(MemoryFailureTest, PrivateAndCoherentMemoryIsENXIO) {
  for (const MemoryType type : {MemoryType::kPrivate, MemoryType::kCoherent}) {
    FakeMemory hidden(registry_, {.name = "hidden", .type = type, .ranges = {units(256, 258)}});
    EXPECT_EQ(fail_memory(units(256, 257)), ENXIO);
    // A page that is given out has a reference; the failure takes none and puts none.
    const PagemapRef page = reference(units(256, 257));
    EXPECT_EQ(fail_memory(units(256, 257)), ENXIO);
    EXPECT_EQ(hidden.map().references(), 1u);
    EXPECT_TRUE(hidden.asked.empty());
    EXPECT_TRUE(hidden.last_resort.empty());
  }
}

TEST_F(MemoryFailureTest, WhatIsNoRangeOfPagesIsEINVAL) {
  for (const PhysRange range :
       {PhysRange{data_.begin, data_.begin}, PhysRange{data_.begin + kPageSize, data_.begin},
        PhysRange{data_.begin + 1, data_.begin + kPageSize},
        PhysRange{data_.begin, data_.begin + kPageSize + 512},
        PhysRange{kPhysicalAddressEnd - kPageSize, kPhysicalAddressEnd + kPageSize},
        PhysRange{data_.begin, UINT64_MAX - kPageSize + 1}}) {
    EXPECT_EQ(fail_memory(range), EINVAL);
  }
}

TEST_F(MemoryFailureTest, OnlyEOPNOTSUPPFallsToTheLastResort) {
  for (const int err : {EIO, ENXIO, EUCLEAN, EBUSY}) {
    fsdax_.err = err;
    EXPECT_EQ(fail_memory(data_), err);
  }
  EXPECT_TRUE(fsdax_.last_resort.empty());
  fsdax_.err = EOPNOTSUPP;
  EXPECT_EQ(fail_memory(data_), 0);
  EXPECT_EQ(fsdax_.last_resort, std::vector<PhysRanges>{{data_}});
  ASSERT_EQ(parts_.size(), 1u) << "what the handler told before it gave up is told once";
  EXPECT_EQ(parts_[0].ino, 2u);
}

TEST_F(MemoryFailureTest, WithoutHandlersThePagesTellOrNobody) {
  DevPagemap bare("bare", MemoryType::kGeneric, units(256, 258));
  ASSERT_TRUE(registry_.memremap_pages(bare));
  EXPECT_EQ(fail_memory(units(256, 257)), 0);
  EXPECT_TRUE(parts_.empty());
  EXPECT_EQ(bare.references(), 0u);
  EXPECT_TRUE(registry_.memunmap_pages(bare, Clock::now()));
}

// What others had put into the list stays; what the pagemaps before the failing one added goes.
TEST_F(MemoryFailureTest, AfterAnErrorOnlyWhatWasThereIsLeft) {
  parts_.push_back({.ino = 99, .file = {}, .data = {}});
  plain_.err = EIO;
  const PhysRange over = {data_.end - kPageSize, data_.end + kPageSize};
  EXPECT_EQ(memory_failure(registry_, {over}, 0, parts_).err(), EIO);
  EXPECT_EQ(fsdax_.asked.size(), 1u);
  ASSERT_EQ(parts_.size(), 1u);
  EXPECT_EQ(parts_[0].ino, 99u);
}

// madvise(MADV_HWPOISON) holds the page: a path that forgets it hangs removal for ever.
TEST_F(MemoryFailureTest, TheCallersPageReferenceIsPutOnEveryPath) {
  const auto with_held = [&](PhysRange range, PhysRange held_of) {
    PagemapRef held = reference(held_of);
    EXPECT_TRUE(held);
    return fail_memory(range, kMfCountIncreased, std::move(held));
  };
  EXPECT_EQ(with_held(data_, data_), 0);
  EXPECT_EQ(with_held(metadata_, metadata_), ENXIO);
  EXPECT_EQ(with_held({data_.begin, data_.begin + 1}, data_), EINVAL);
  EXPECT_EQ(with_held(units(1000, 1001), data_), ENXIO);
  EXPECT_EQ(with_held({kUnit, kUnit + kPageSize}, data_), EBUSY);
  fsdax_.err = EIO;
  EXPECT_EQ(with_held(data_, data_), EIO);
  fsdax_.err = EOPNOTSUPP;
  EXPECT_EQ(with_held(data_, data_), 0);

  FakeMemory dying(registry_, {.name = "dying", .ranges = {units(256, 258)}});
  PagemapRef held = reference(units(256, 257));
  dying.map().ref().kill();
  EXPECT_EQ(fail_memory(units(256, 257), kMfCountIncreased, std::move(held)), ENXIO);
  EXPECT_TRUE(registry_.memunmap_pages(dying.map(), Clock::now()));

  FakeMemory hidden(registry_,
                    {.name = "hidden", .type = MemoryType::kPrivate, .ranges = {units(320, 322)}});
  EXPECT_EQ(with_held(units(320, 321), units(320, 321)), ENXIO);
  EXPECT_EQ(hidden.map().references(), 0u);
}

TEST_F(MemoryFailureTest, SoftOfflineOfADevicesPageIsEIOAndLeavesNoReference) {
  for (const PhysRange range : {data_, metadata_, data_of_plain_}) {
    EXPECT_EQ(soft_offline_page(registry_, Pfn::of(range.begin)).err(), EIO);
    EXPECT_EQ(soft_offline_page(registry_, Pfn::of(range.begin), reference(range)).err(), EIO);
    EXPECT_EQ(fsdax_.map().references() + plain_.map().references(), 0u);
  }
  EXPECT_TRUE(fsdax_.asked.empty());
}

TEST_F(MemoryFailureTest, SoftOfflineOfWhatIsNoDevicesPage) {
  EXPECT_EQ(soft_offline_page(registry_, Pfn::of(0)).err(), EBUSY);
  EXPECT_EQ(soft_offline_page(registry_, Pfn::of(1000 * kUnit)).err(), ENXIO);
  EXPECT_EQ(soft_offline_page(registry_, Pfn{kPfnEnd}).err(), ENXIO);
  EXPECT_EQ(soft_offline_page(registry_, Pfn{UINT64_MAX}).err(), ENXIO);
  EXPECT_EQ(soft_offline_page(registry_, Pfn::of(0), reference(data_)).err(), EBUSY);
  EXPECT_EQ(soft_offline_page(registry_, Pfn::of(1000 * kUnit), reference(data_)).err(), ENXIO);
  EXPECT_EQ(fsdax_.map().references(), 0u);
}

}  // namespace
}  // namespace pmemd
