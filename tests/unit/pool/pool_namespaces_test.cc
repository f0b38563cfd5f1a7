// Namespaces and regions of an open pool.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <random>
#include <thread>

#include "core/pool/info_block.h"
#include "core/pool/pool.h"
#include "core/pool/schema.h"
#include "tests/unit/pool/pool_fixture.h"
#include "tests/unit/temporary_tmpfs.h"

namespace pmemd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr uint64_t kSize = 64 * kMiB;

void fill(Pool& pool, const NamespaceRecord& record) {
  const auto image = must(pool.map_namespace(record));
  const std::string text(16 * kKiB, 'S');
  for (uint64_t at = kNamespaceMetadataSize; at < record.range.length(); at += kMiB) {
    must(image->write(at, std::as_bytes(std::span(text))));
  }
}

void expect_zero_data(Pool& pool, const NamespaceRecord& record) {
  const auto image = must(pool.map_namespace(record));
  EXPECT_TRUE(must(image->is_zero(kNamespaceMetadataSize, record.data_bytes())));
}

TEST(NamespaceRecord, TranslatesItsDataAreaToTheRegionAndBack) {
  NamespaceRecord space;
  space.range = {kSize, kSize + kNamespaceMetadataSize + 4 * kMiB};
  const uint64_t begin = kSize + kNamespaceMetadataSize;
  EXPECT_EQ(space.in_region({512, 1024}), (RegionRange{begin + 512, begin + 1024}));
  EXPECT_EQ(space.in_data({begin + 512, begin + 1024}), (DataRange{512, 1024}));
  EXPECT_EQ(space.in_data({0, begin + 1}), (DataRange{0, 1})) << "clipped";
  EXPECT_EQ(space.in_data({begin + 4 * kMiB - 1, UINT64_MAX}), (DataRange{4 * kMiB - 1, 4 * kMiB}));
  EXPECT_TRUE(space.in_data({0, begin}).empty()) << "metadata";
  // No range of nothing that lies where no data is: who goes on with it may ask where it lies.
  const uint64_t end = space.range.end;
  EXPECT_EQ(space.in_data({end + 4096, end + 8192}), DataRange());
  EXPECT_EQ(space.in_data({end, end}), DataRange());
}

class PoolNamespaces : public PoolFixture {
 protected:
  // A pool of one empty region.
  PoolNamespaces() {
    pool_ = create_pool(kSize);
    must(pool_->destroy_namespace(pool_->namespaces()[0]));
  }
  NamespaceRecord create(const CreateNamespace& want) {
    return must(pool_->create_namespace(want));
  }
  Error create_error(const CreateNamespace& want) {
    const auto record = pool_->create_namespace(want);
    EXPECT_FALSE(record);
    return record ? Error{} : record.error();
  }
};

TEST_F(PoolNamespaces, TakeTheFirstFreeExtentAndTheLowestId) {
  const auto first = create({.size_bytes = 8 * kMiB});
  const auto second = create({.mode = NamespaceMode::kDevDax, .size_bytes = 4 * kMiB});
  const auto third = create({});
  EXPECT_EQ(first.range, (RegionRange{0, 8 * kMiB}));
  EXPECT_EQ(second.range, (RegionRange{8 * kMiB, 12 * kMiB}));
  EXPECT_EQ(third.range, (RegionRange{12 * kMiB, kSize}));
  EXPECT_EQ(second.device_name(), "dax0.1");
  EXPECT_EQ(pool_->available(0).total_bytes, 0);

  ASSERT_TRUE(pool_->destroy_namespace(first));
  EXPECT_EQ(pool_->available(0).total_bytes, 8 * kMiB);
  EXPECT_EQ(pool_->available(0).max_extent_bytes, 8 * kMiB);
  const auto again = create({.size_bytes = 4 * kMiB});
  EXPECT_EQ(again.range, (RegionRange{0, 4 * kMiB}));
  EXPECT_EQ(again.name(), "namespace0.0");
  EXPECT_GT(again.serial, third.serial);
  EXPECT_THAT(names(pool_->namespaces()),
              ElementsAre("namespace0.0", "namespace0.1", "namespace0.2"));
  EXPECT_EQ(pool_->find_namespace("namespace0.0")->serial, again.serial);
  EXPECT_THAT(findings(*pool_), IsEmpty());
}

TEST_F(PoolNamespaces, BeginAtMultiplesOfTheirAlign) {
  create({.size_bytes = 4 * kMiB});
  const auto aligned = create({.size_bytes = 6 * kMiB, .align = 32 * kMiB});
  EXPECT_EQ(aligned.range, (RegionRange{32 * kMiB, 38 * kMiB}));
  EXPECT_EQ(aligned.align, 32 * kMiB);
}

TEST_F(PoolNamespaces, HaveAnInfoBlockInTheImage) {
  const auto record = create({.size_bytes = 8 * kMiB});
  std::array<std::byte, kInfoBlockSize> bytes;
  const auto image = pool_->map_namespace(record);
  ASSERT_TRUE((*image)->read(kInfoBlockOffset, bytes));
  const auto block = decode_info_block(bytes);
  ASSERT_TRUE(block) << block.error().describe();
  EXPECT_EQ(block->namespace_uuid, record.uuid);
  EXPECT_EQ(block->size, 8 * kMiB);
}

TEST_F(PoolNamespaces, AreInTheRegionThatIsNamedOrInOneWithRoom) {
  const auto region = pool_->create_region(128 * kMiB, Reservation::kSparse);
  ASSERT_TRUE(region) << region.error().describe();
  EXPECT_EQ(region->name(), "region1");
  EXPECT_EQ(region->base_address, 5 * kGiB);
  EXPECT_EQ(create({.region = 1, .size_bytes = 4 * kMiB}).name(), "namespace1.0");
  EXPECT_EQ(create({.size_bytes = 4 * kMiB}).name(), "namespace0.0");
  EXPECT_EQ(create({.size_bytes = 100 * kMiB}).name(), "namespace1.1");
  EXPECT_EQ(create({}).name(), "namespace0.1");  // the largest of all
  EXPECT_EQ(create({}).name(), "namespace1.2");
}

TEST_F(PoolNamespaces, RegionsBeginAtTheNextGibibyte) {
  EXPECT_EQ(pool_->create_region(kGiB + 2 * kMiB, Reservation::kSparse)->base_address, 5 * kGiB);
  EXPECT_EQ(pool_->create_region(kGiB, Reservation::kSparse)->base_address, 7 * kGiB);
  EXPECT_EQ(pool_->region(2)->size_bytes, kGiB);
  EXPECT_EQ(pool_->find_region("region2")->id, 2);
  EXPECT_EQ(pool_->region(3).err(), ENOENT);
  EXPECT_EQ(pool_->find_region("region").err(), ENOENT);
  pool_.reset();
  pool_ = *Pool::open(path_, Pool::Mode::kReadWrite);
  EXPECT_EQ(pool_->regions().size(), 3);
  EXPECT_THAT(findings(*pool_), IsEmpty());
}

TEST_F(PoolNamespaces, RegionsBeginWhereTheyAreTold) {
  const auto at = [&](uint64_t base) {
    return pool_->create_region(kSize, Reservation::kSparse, base);
  };
  EXPECT_EQ(at(3 * kGiB + 2 * kMiB)->base_address, 3 * kGiB + 2 * kMiB);
  EXPECT_EQ(at(0)->base_address, 0);
  EXPECT_EQ(at(kPhysicalAddressEnd - kSize)->base_address, kPhysicalAddressEnd - kSize);
  EXPECT_EQ(at(4 * kGiB + kSize)->name(), "region4") << "directly behind region0";
  EXPECT_EQ(at(4 * kGiB + 2 * kSize - 2 * kMiB).err(), EEXIST);
  EXPECT_EQ(at(4 * kGiB - 2 * kMiB).error().message,
            "region: 0xffe00000-0x103e00000 overlaps region0");
  EXPECT_EQ(at(kMiB).err(), EINVAL);
  EXPECT_EQ(at(8 * kGiB + kPageSize).err(), EINVAL);
  EXPECT_EQ(at(kPhysicalAddressEnd - kSize + 2 * kMiB).err(), EINVAL);
  EXPECT_EQ(at(kPhysicalAddressEnd).err(), EINVAL);
  EXPECT_EQ(at(UINT64_MAX - 2 * kMiB + 1).err(), EINVAL) << "wraps around";
  EXPECT_EQ(pool_->create_region(kSize, Reservation::kSparse)->base_address, 5 * kGiB)
      << "one that isn't told goes where there is room, not behind the highest";
  pool_.reset();
  pool_ = *Pool::open(path_, Pool::Mode::kReadWrite);
  EXPECT_EQ(pool_->region(1)->base_address, 3 * kGiB + 2 * kMiB);
  EXPECT_EQ(pool_->regions().size(), 6);
  EXPECT_THAT(findings(*pool_), IsEmpty());
}

TEST_F(PoolNamespaces, CreationErrors) {
  EXPECT_EQ(create_error({.region = 4}).err(), ENOENT);
  EXPECT_EQ(create_error({.size_bytes = 5 * kMiB}).err(), EINVAL);
  EXPECT_EQ(create_error({.size_bytes = 2 * kMiB}).err(), EINVAL);
  EXPECT_EQ(create_error({.align = 3 * kMiB}).err(), EINVAL);
  EXPECT_EQ(create_error({.align = kMiB}).err(), EINVAL);
  create({.size_bytes = 40 * kMiB});
  const Error full = create_error({.size_bytes = 32 * kMiB});
  EXPECT_EQ(full.err(), ENOSPC);
  EXPECT_EQ(full.message, "all regions: no free extent of 32 MiB (the largest has 24 MiB)");
  create({});
  EXPECT_THAT(create_error({.region = 0}).message, HasSubstr("region0: no free extent"));
  EXPECT_THAT(names(pool_->namespaces()), ElementsAre("namespace0.0", "namespace0.1"));
}

TEST_F(PoolNamespaces, RegionErrorsLeaveNothing) {
  EXPECT_EQ(pool_->create_region(5 * kMiB, Reservation::kSparse).err(), EINVAL);
  EXPECT_EQ(pool_->create_region(0, Reservation::kSparse).err(), EINVAL);
  EXPECT_EQ(pool_->create_region(uint64_t{1} << 52, Reservation::kSparse).err(), ENOSPC);
  std::ofstream(path_ + "/region1.img") << "somebody's";
  EXPECT_EQ(pool_->create_region(kSize, Reservation::kSparse).err(), EEXIST);
  EXPECT_EQ(dir_.read("pool/region1.img"), "somebody's");
  std::filesystem::remove(path_ + "/region1.img");
  EXPECT_EQ(pool_->regions().size(), 1);
  EXPECT_EQ(pool_->create_region(kSize, Reservation::kSparse)->name(), "region1");
}

TEST_F(PoolNamespaces, AFullHostDiskIsEnospcAndLeavesNothing) {
  const TemporaryTmpfs disk(8 * kMiB);
  if (!disk.why_not().empty()) GTEST_SKIP() << disk.why_not();
  const auto created = Pool::create(disk.path() + "/pool", kSize, Reservation::kSparse);
  ASSERT_TRUE(created) << created.error().describe();
  Pool& pool = **created;
  EXPECT_EQ(pool.create_region(kSize, Reservation::kReserved).err(), ENOSPC);
  EXPECT_EQ(pool.regions().size(), 1);
  EXPECT_FALSE(std::filesystem::exists(pool.path() + "/region1.img"));

  ASSERT_TRUE(pool.destroy_namespace(pool.namespaces()[0]));
  {
    std::ofstream filler(disk.path() + "/filler");
    const std::string bytes(64 * kKiB, 'x');
    while (filler.write(bytes.data(), static_cast<std::streamsize>(bytes.size())).flush()) {
    }
    EXPECT_EQ(pool.create_namespace({}).err(), ENOSPC);
    EXPECT_THAT(names(pool.namespaces()), IsEmpty());
  }
  std::filesystem::remove(disk.path() + "/filler");
  EXPECT_THAT(findings(pool), IsEmpty());
  const auto record = pool.create_namespace({});
  EXPECT_TRUE(record) << record.error().describe();
}

TEST_F(PoolNamespaces, OneWhoseEndCantBeRecordedIsStillThere) {
  const auto record = create({.size_bytes = 4 * kMiB});
  refuse_marks("namespaces");
  EXPECT_FALSE(pool_->destroy_namespace(record));
  EXPECT_THAT(names(pool_->namespaces()), ElementsAre("namespace0.0"));
  EXPECT_TRUE(pool_->map_namespace(record));
  allow_marks();
  EXPECT_TRUE(pool_->destroy_namespace(record));
  EXPECT_THAT(pool_->namespaces(), IsEmpty());
  EXPECT_THAT(findings(*pool_), IsEmpty());
}

TEST_F(PoolNamespaces, DestroyedOnesAreUnknown) {
  const auto record = create({});
  ASSERT_TRUE(pool_->destroy_namespace(record));
  EXPECT_EQ(pool_->destroy_namespace(record).err(), ENOENT);
  EXPECT_EQ(pool_->map_namespace(record).err(), ENOENT);
  EXPECT_EQ(pool_->find_namespace(record.name()).err(), ENOENT);
  EXPECT_EQ(pool_->is_clean(record.serial).err(), ENOENT);
  EXPECT_EQ(pool_->set_clean(record.serial, true).err(), ENOENT);
}

TEST_F(PoolNamespaces, DestroyTakesBytesAndRowsOfItAndOfNoOther) {
  const auto first = create({.size_bytes = 8 * kMiB});
  const auto second = create({.size_bytes = 8 * kMiB});
  const auto third = create({.size_bytes = 8 * kMiB});
  for (const auto& record : {first, second, third}) {
    fill(*pool_, record);
    Transaction transaction(pool_->database());
    ASSERT_TRUE(transaction.begin());
    const auto insert = [&](const char* sql) {
      auto statement = pool_->database().prepare(sql);
      ASSERT_TRUE(statement);
      statement->bind(0, static_cast<int64_t>(make_inode_number(record.serial, 1)));
      ASSERT_TRUE(statement->run());
    };
    insert(
        "WITH RECURSIVE n(i) AS (VALUES (0) UNION ALL SELECT i + 1 FROM n WHERE i < 30000)"
        " INSERT INTO extents SELECT ?1 + i, 0, 0, 4096 FROM n");
    insert("INSERT INTO dirents (parent, name, ino, type) VALUES (?1, x'61', ?1, 4)");
    insert("INSERT INTO xattrs VALUES (?1, 'user.a', x'62')");
    insert(
        "INSERT INTO inodes (ino, mode, uid, gid, nlink, rdev, size, atime, mtime, ctime, btime)"
        " VALUES (?1, 16877, 0, 0, 1, 0, 0, 0, 0, 0, 0)");
    ASSERT_TRUE(transaction.commit());
  }
  ASSERT_TRUE(pool_->destroy_namespace(second));
  EXPECT_THAT(findings(*pool_), IsEmpty());  // of old bytes and stray rows, too
  {
    MutexLock lock(pool_->database().mutex());
    for (const char* table : {"inodes", "dirents", "xattrs"}) {
      auto count = pool_->database().prepare(std::string("SELECT count(*) FROM ") + table);
      ASSERT_TRUE(count && count->step());
      EXPECT_EQ(count->column_int(0), 2) << table;
    }
  }
  std::byte byte{};
  ASSERT_TRUE((*pool_->map_namespace(first))->read(8 * kMiB - kMiB, {&byte, 1}));
  EXPECT_EQ(byte, std::byte{'S'});
  ASSERT_TRUE((*pool_->map_namespace(third))->read(kNamespaceMetadataSize, {&byte, 1}));
  EXPECT_EQ(byte, std::byte{'S'});
  expect_zero_data(*pool_, create({.size_bytes = 8 * kMiB}));
}

TEST_F(PoolNamespaces, CleanIsRemembered) {
  const auto record = create({});
  EXPECT_TRUE(pool_->is_clean(record.serial).value());
  ASSERT_TRUE(pool_->set_clean(record.serial, false));
  EXPECT_FALSE(pool_->is_clean(record.serial).value());
  pool_.reset();
  pool_ = *Pool::open(path_, Pool::Mode::kReadWrite);
  EXPECT_FALSE(pool_->is_clean(record.serial).value());
  ASSERT_TRUE(pool_->set_clean(record.serial, true));
  EXPECT_TRUE(pool_->is_clean(record.serial).value());
}

TEST_F(PoolNamespaces, AnInfoBlockThatIsNotTheirsAnyMoreKeepsTheFirstWriteOut) {
  const auto first = create({.size_bytes = 8 * kMiB});
  const auto second = create({.size_bytes = 8 * kMiB});
  std::array<std::byte, kInfoBlockSize> bytes;
  ASSERT_TRUE((*pool_->map_namespace(second))->read(kInfoBlockOffset, bytes));
  const auto image = pool_->map_namespace(first);
  ASSERT_TRUE(image);
  std::fstream file(path_ + "/region0.img", std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(first.range.begin + kInfoBlockOffset));
  file.write(reinterpret_cast<const char*>(bytes.data()), bytes.size()).flush();
  EXPECT_EQ((*image)->write(kNamespaceMetadataSize, bytes).err(), EIO);
  EXPECT_TRUE((*image)->is_zero(kNamespaceMetadataSize, kPageSize).value());
}

TEST_F(PoolNamespaces, AnInfoBlockThatIsNotTheirsIsEio) {
  const auto first = create({.size_bytes = 8 * kMiB});
  const auto second = create({.size_bytes = 8 * kMiB});
  std::array<std::byte, kInfoBlockSize> bytes;
  ASSERT_TRUE((*pool_->map_namespace(first))->read(kInfoBlockOffset, bytes));
  ASSERT_TRUE((*pool_->map_namespace(second))->write(kInfoBlockOffset, bytes));
  const auto mapped = pool_->map_namespace(second);
  ASSERT_EQ(mapped.err(), EIO);
  EXPECT_EQ(mapped.error().message, "namespace0.1: its info block is another namespace's");
  bytes[0] = {};
  ASSERT_TRUE((*pool_->map_namespace(first))->write(kInfoBlockOffset, bytes));
  EXPECT_THAT(pool_->map_namespace(first).error().message, HasSubstr("there is no info block"));
}

TEST_F(PoolNamespaces, AnImageTruncatedUnderADaemonIsEio) {
  const auto record = create({});
  std::filesystem::resize_file(path_ + "/region0.img", 0);
  EXPECT_EQ(pool_->map_namespace(record).err(), EIO);
}

// Random creations and destructions against a map of 2 MiB cells.
TEST_F(PoolNamespaces, DoAsAPlainModelDoes) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  constexpr size_t kCells = kSize / (2 * kMiB);
  std::array<uint64_t, kCells> cells = {};  // the serial of who has it
  uint64_t last_serial = 1;
  for (int i = 0; i < 150; ++i) {
    const auto existing = pool_->namespaces();
    if (random() % 5 < 2 && !existing.empty()) {
      const auto& victim = existing[random() % existing.size()];
      ASSERT_TRUE(pool_->destroy_namespace(victim));
      std::ranges::replace(cells, victim.serial, uint64_t{0});
    } else {
      const size_t count = 2 + random() % 8;
      const auto run =
          std::ranges::search_n(cells, static_cast<std::ptrdiff_t>(count), uint64_t{0});
      const auto record = pool_->create_namespace({.size_bytes = count * 2 * kMiB});
      ASSERT_EQ(record.err(), run.empty() ? ENOSPC : 0);
      if (!record) continue;
      EXPECT_EQ(record->range.begin, static_cast<uint64_t>(run.begin() - cells.begin()) * 2 * kMiB);
      EXPECT_GT(record->serial, last_serial);
      last_serial = record->serial;
      uint32_t id = 0;
      while (std::ranges::count(existing, id, &NamespaceRecord::id) > 0) ++id;
      EXPECT_EQ(record->id, id);
      std::ranges::fill(run, record->serial);
      expect_zero_data(*pool_, *record);
      fill(*pool_, *record);
    }
    EXPECT_EQ(pool_->available(0).total_bytes,
              static_cast<uint64_t>(std::ranges::count(cells, 0u)) * 2 * kMiB);
    if (i % 10 == 0) {
      pool_.reset();
      pool_ = *Pool::open(path_, Pool::Mode::kReadWrite);
      EXPECT_THAT(findings(*pool_), IsEmpty());
    }
  }
}

TEST_F(PoolNamespaces, ThreadsThatCreateAndDestroyDontMeet) {
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&] {
      for (int i = 0; i < 15; ++i) {
        const auto record = pool_->create_namespace({.size_bytes = 8 * kMiB});
        ASSERT_TRUE(record) << record.error().describe();
        expect_zero_data(*pool_, *record);
        fill(*pool_, *record);
        ASSERT_TRUE(pool_->destroy_namespace(*record));
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(pool_->available(0).max_extent_bytes, kSize);
  EXPECT_THAT(findings(*pool_), IsEmpty());
}

}  // namespace
}  // namespace pmemd
