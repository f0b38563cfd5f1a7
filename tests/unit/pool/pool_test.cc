// Pools: creation and opening, and every way in which that is refused.
#include "core/pool/pool.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <map>
#include <thread>

#include "core/pool/info_block.h"
#include "core/pool/schema.h"
#include "tests/unit/pool/pool_fixture.h"
#include "tests/unit/temporary_tmpfs.h"

namespace pmemd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr uint64_t kSize = 16 * kMiB;

class PoolTest : public PoolFixture {
 protected:
  std::unique_ptr<Pool> create() const { return create_pool(kSize); }
  Error open_error() {
    auto pool = Pool::open(path_, Pool::Mode::kReadWrite);
    EXPECT_FALSE(pool);
    return pool ? Error{} : pool.error();
  }
  void overwrite(const std::string& file, uint64_t offset, std::string_view bytes) {
    std::fstream stream(path_ + "/" + file, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekp(static_cast<std::streamoff>(offset));
    stream << bytes;
    ASSERT_TRUE(stream.flush());
  }
  // Name → content of all files.
  std::map<std::string, std::string> contents() const {
    std::map<std::string, std::string> files;
    for (const auto& entry : std::filesystem::directory_iterator(path_)) {
      const std::string name = entry.path().filename();
      files[name] = dir_.read("pool/" + name);
    }
    return files;
  }
  std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto& [name, content] : contents()) names.push_back(name);
    return names;
  }
};

// --- create

TEST_F(PoolTest, ANewPoolHasARegionWithANamespaceOfAllOfIt) {
  const auto pool = create();
  ASSERT_EQ(pool->regions().size(), 1);
  const RegionRecord region = pool->regions()[0];
  EXPECT_EQ(region.name(), "region0");
  EXPECT_EQ(region.size_bytes, kSize);
  EXPECT_EQ(region.base_address, 4 * kGiB);
  ASSERT_EQ(pool->namespaces().size(), 1);
  const NamespaceRecord record = pool->namespaces()[0];
  EXPECT_EQ(record.name(), "namespace0.0");
  EXPECT_EQ(record.device_name(), "pmem0");
  EXPECT_EQ(record.range, (RegionRange{0, kSize}));
  EXPECT_EQ(record.data_bytes(), kSize - 2 * kMiB);
  EXPECT_TRUE(pool->is_clean(record.serial).value());
  EXPECT_EQ(pool->available(0).total_bytes, 0);
  EXPECT_EQ(pool->map_namespace(record).err(), 0);
  EXPECT_THAT(findings(*pool), IsEmpty());
}

TEST_F(PoolTest, IsTheSameWhenOpenedAgain) {
  const auto before = create()->namespaces();
  const auto pool = open();
  ASSERT_EQ(pool->namespaces().size(), 1);
  EXPECT_EQ(pool->namespaces()[0].uuid, before[0].uuid);
  EXPECT_EQ(pool->namespaces()[0].range, before[0].range);
  EXPECT_THAT(findings(*pool), IsEmpty());
}

TEST_F(PoolTest, FilesAreForTheOwnerOnly) {
  create();
  for (const auto& entry : std::filesystem::directory_iterator(path_)) {
    EXPECT_EQ(entry.status().permissions() & std::filesystem::perms(077),
              std::filesystem::perms::none)
        << entry.path();
  }
}

TEST_F(PoolTest, CreateTakesAnEmptyDirectoryAndRelativePathsAndSlashes) {
  std::filesystem::create_directory(path_);
  const auto pool = Pool::create(path_ + "//", kSize, Reservation::kSparse);
  ASSERT_TRUE(pool) << pool.error().describe();
  EXPECT_EQ((*pool)->path(), path_);
}

TEST_F(PoolTest, CreateOverAPoolIsEexistAndLeavesIt) {
  create();
  const auto before = contents();
  EXPECT_EQ(Pool::create(path_, kSize, Reservation::kSparse).err(), EEXIST);
  EXPECT_EQ(contents(), before);
}

TEST_F(PoolTest, CreateInADirectoryWithOtherThingsIsEnotemptyAndLeavesThem) {
  std::filesystem::create_directory(path_);
  std::ofstream(path_ + "/thesis.tex") << "\\begin";
  EXPECT_EQ(Pool::create(path_, kSize, Reservation::kSparse).err(), ENOTEMPTY);
  EXPECT_THAT(files(), ElementsAre("thesis.tex"));
}

// The user has lost pool.db, but wants to keep what is in the image.
TEST_F(PoolTest, CreateBesideAnImageWithoutADatabaseIsEnotempty) {
  create();
  std::filesystem::remove(path_ + "/pool.db");
  EXPECT_EQ(Pool::create(path_, kSize, Reservation::kSparse).err(), ENOTEMPTY);
  EXPECT_EQ(std::filesystem::file_size(path_ + "/region0.img"), kSize);
}

TEST_F(PoolTest, CreateOfAnImpossibleSizeIsEinvalWithAHintAndMakesNothing) {
  const auto pool = Pool::create(path_, 5 * kMiB, Reservation::kSparse);
  ASSERT_EQ(pool.err(), EINVAL);
  EXPECT_THAT(pool.error().hint, HasSubstr("6291456"));
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(PoolTest, CreateMakesTheDirectoriesAboveIt) {
  const std::string above = path_ + "/a/b";
  ASSERT_TRUE(Pool::create(above + "/pool", kSize, Reservation::kSparse));
  struct stat made = {};
  ASSERT_EQ(::stat(above.c_str(), &made), 0);
  EXPECT_EQ(made.st_mode & 0700, 0700U);
  EXPECT_EQ(made.st_mode & 0022, 0U) << "nobody else writes there";
  ASSERT_EQ(::stat((above + "/pool").c_str(), &made), 0);
  EXPECT_EQ(made.st_mode & 07777, 0700U) << "the pool is its owner's alone";
}

TEST_F(PoolTest, CreateOnAFullDiskIsEnospcAndLeavesNothing) {
  const TemporaryTmpfs disk(8 * kMiB);
  if (!disk.why_not().empty()) GTEST_SKIP() << disk.why_not();
  const std::string path = disk.path() + "/pool";
  EXPECT_EQ(Pool::create(path, kSize, Reservation::kReserved).err(), ENOSPC);
  EXPECT_FALSE(std::filesystem::exists(path));

  std::filesystem::create_directory(path);
  EXPECT_EQ(Pool::create(path, kSize, Reservation::kReserved).err(), ENOSPC);
  EXPECT_TRUE(std::filesystem::is_empty(path));
  EXPECT_EQ(Pool::create(path, 4 * kMiB, Reservation::kReserved).err(), 0);
}

TEST_F(PoolTest, ATebibyteSparsePoolIsMadeAndMapped) {
  const auto pool = Pool::create(path_, kTiB, Reservation::kSparse);
  ASSERT_TRUE(pool) << pool.error().describe();
  const auto image = (*pool)->map_namespace((*pool)->namespaces()[0]);
  ASSERT_TRUE(image) << image.error().describe();
  EXPECT_EQ((*image)->size_bytes(), kTiB);
}

// --- open

TEST_F(PoolTest, OpenOfNoPoolIsEnoentAndMakesNothing) {
  EXPECT_EQ(open_error().err(), ENOENT);
  std::filesystem::create_directory(path_);
  EXPECT_EQ(open_error().err(), ENOENT);
  EXPECT_TRUE(std::filesystem::is_empty(path_));
  EXPECT_FALSE(Pool::exists(path_));
}

TEST_F(PoolTest, OpenOfAPoolInUseIsEbusyWithThePid) {
  const auto pool = create();
  const Error error = open_error();
  EXPECT_EQ(error.err(), EBUSY);
  EXPECT_THAT(error.message, HasSubstr("pool " + path_));
  EXPECT_THAT(error.message, HasSubstr("pid " + std::to_string(::getpid())));
  EXPECT_THAT(error.hint, HasSubstr("stop it"));
  EXPECT_EQ(Pool::open(path_, Pool::Mode::kReadOnly).err(), EBUSY);
  EXPECT_THAT(findings(*pool), IsEmpty());  // not disturbed
}

TEST_F(PoolTest, ReadersShareAndKeepWritersOut) {
  create();
  const auto first = open(Pool::Mode::kReadOnly);
  const auto second = open(Pool::Mode::kReadOnly);
  EXPECT_EQ(second->namespaces().size(), 1);
  EXPECT_EQ(open_error().err(), EBUSY);
}

TEST_F(PoolTest, AClosedPoolCanBeOpenedAgain) {
  create();
  open();
  open(Pool::Mode::kReadOnly);
  open();
}

TEST_F(PoolTest, ReadOnlyChangesNothingAfterAKillEither) {
  auto pool = create();
  ASSERT_TRUE(pool->set_clean(1, false));
  const TemporaryDirectory killed;  // what a kill leaves: the WAL, and half-made things
  {
    Transaction transaction(pool->database());
    ASSERT_TRUE(transaction.begin());
    ASSERT_TRUE(pool->database().execute("UPDATE namespaces SET live = 0"));
    ASSERT_TRUE(transaction.commit());
  }
  killed.copy_files_from(path_);
  pool.reset();
  const auto content = [&] {
    return killed.read("pool.db") + killed.read("pool.db-wal") + killed.read("region0.img") +
           killed.read("lock");
  };
  const std::string before = content();
  {
    const auto read_only = Pool::open(killed.path(), Pool::Mode::kReadOnly);
    ASSERT_TRUE(read_only) << read_only.error().describe();
    EXPECT_THAT((*read_only)->namespaces(), IsEmpty());
    EXPECT_FALSE((*read_only)->is_clean(1).value());
    EXPECT_THAT(findings(**read_only), IsEmpty());
    EXPECT_EQ((*read_only)->set_clean(1, true).err(), EROFS);
    EXPECT_EQ((*read_only)->create_region(kSize, Reservation::kSparse).err(), EROFS);
    EXPECT_EQ((*read_only)->regions().size(), 1);
  }
  EXPECT_EQ(content(), before);
}

TEST_F(PoolTest, ANewerVersionIsEnotsupAndNotTouched) {
  create();
  overwrite("pool.db", 60, std::string("\0\0\0\x07", 4));
  std::ofstream(path_ + "/pool.db-wal") << "of another age";
  const auto before = contents();
  const Error error = open_error();
  EXPECT_EQ(error.err(), ENOTSUP);
  EXPECT_EQ(error.message,
            "pool " + path_ + ": format version 7 is newer than this pmemd knows (4)");
  EXPECT_EQ(error.hint, "use a newer pmemd");
  EXPECT_EQ(Pool::open(path_, Pool::Mode::kReadOnly).err(), ENOTSUP);
  EXPECT_EQ(contents(), before);
}

// The header of pool.db tells the version while the WAL is in use, too.
TEST_F(PoolTest, TheHeaderTellsTheVersionAtAnyTime) {
  const auto header = [&] { return dir_.read("pool/pool.db").substr(60, 12); };
  const std::string expected("\0\0\0\x04\0\0\0\0pmem", 12);
  const auto pool = create();
  EXPECT_EQ(header(), expected);
  ASSERT_TRUE(pool->set_clean(1, false));
  EXPECT_EQ(header(), expected);
}

TEST_F(PoolTest, AnOlderVersionIsUpgradedByAReadWriteOpen) {
  const std::string uuid = create()->namespaces().at(0).uuid;
  overwrite("pool.db", 60, std::string("\0\0\0\x01", 4));
  const auto version = [&] { return dir_.read("pool/pool.db").substr(60, 4); };
  {
    const auto read_only = Pool::open(path_, Pool::Mode::kReadOnly);
    ASSERT_TRUE(read_only) << read_only.error().describe();
    EXPECT_EQ((*read_only)->namespaces().at(0).uuid, uuid);
  }
  EXPECT_EQ(version(), std::string("\0\0\0\x01", 4)) << "a reader changes nothing";
  std::vector<std::string> told;
  const auto open = [&] {
    return Pool::open(path_, Pool::Mode::kReadWrite, [&](const std::string& pool, int32_t from) {
      told.push_back(pool + " " + std::to_string(from));
    });
  };
  const std::string image = path_ + "/region0.img";
  std::filesystem::rename(image, image + ".away");
  EXPECT_EQ(open().err(), EIO);
  EXPECT_THAT(told, ElementsAre(path_ + " 1")) << "also where it can't be opened then";
  std::filesystem::rename(image + ".away", image);
  const auto pool = open();
  ASSERT_TRUE(pool) << pool.error().describe();
  EXPECT_THAT(told, ElementsAre(path_ + " 1")) << "once";
  EXPECT_EQ(version(), std::string("\0\0\0\x04", 4)) << "in the header, not in the WAL";
  EXPECT_EQ((*pool)->namespaces().at(0).uuid, uuid);
  EXPECT_THAT(findings(**pool), IsEmpty());
}

// Each older version, as its own schema made it.
TEST_F(PoolTest, APoolWithoutLaterTablesIsReadAndUpgraded) {
  const uint64_t serial = create()->namespaces().at(0).serial;
  const auto sql = [&](const std::string& text) {
    const auto database = Database::open(path_ + "/pool.db", Database::Mode::kReadWrite).value();
    MutexLock lock(database->mutex());
    ASSERT_TRUE(database->execute(text));
  };
  sql("DROP TABLE extent_checksums; PRAGMA user_version = 3");
  for (const int version : {3, 2}) {
    if (version == 2) {
      sql("DROP TABLE extent_checksums; DROP TABLE badblocks; DROP TABLE settings;"
          "DROP TABLE volumes; DROP TABLE volume_legs; DROP TABLE events;"
          "DROP INDEX extents_by_data; PRAGMA user_version = 2");
    }
    {
      const auto read_only = Pool::open(path_, Pool::Mode::kReadOnly);
      ASSERT_TRUE(read_only) << read_only.error().describe();
      EXPECT_EQ((*read_only)->extents_checksum(serial).value(), std::nullopt);
      EXPECT_THAT(findings(**read_only), IsEmpty()) << version;
    }
    const auto pool = Pool::open(path_, Pool::Mode::kReadWrite);
    ASSERT_TRUE(pool) << pool.error().describe();
    EXPECT_EQ((*pool)->extents_checksum(serial).value(), std::nullopt);
    EXPECT_TRUE((*pool)->set_clean(serial, true, 5));
    EXPECT_EQ((*pool)->extents_checksum(serial).value(), 5);
    EXPECT_THAT(findings(**pool), IsEmpty()) << version;
  }
}

TEST_F(PoolTest, AChecksumOfExtentsGoesWithTheCleanMarkAndTheNamespace) {
  const auto pool = create();
  const NamespaceRecord record = pool->namespaces().at(0);
  EXPECT_EQ(pool->extents_checksum(record.serial).value(), std::nullopt) << "not known yet";
  ASSERT_TRUE(pool->set_clean(record.serial, true, UINT64_MAX - 1));
  EXPECT_EQ(pool->extents_checksum(record.serial).value(), UINT64_MAX - 1);
  ASSERT_TRUE(pool->set_clean(record.serial, false));
  EXPECT_EQ(pool->extents_checksum(record.serial).value(), std::nullopt);
  ASSERT_TRUE(pool->set_clean(record.serial, true, 7));
  EXPECT_EQ(pool->set_clean(999, true, 7).err(), ENOENT);
  EXPECT_EQ(pool->extents_checksum(999).value(), std::nullopt) << "all or nothing";
  ASSERT_TRUE(pool->destroy_namespace(record));
  EXPECT_EQ(pool->extents_checksum(record.serial).value(), std::nullopt);
  EXPECT_THAT(findings(*pool), IsEmpty());
}

// Killed when the transaction was in the WAL only: the header says 1 still.
TEST_F(PoolTest, AnUpgradeThatWasKilledIsDoneAgain) {
  const auto pool = create();
  const TemporaryDirectory killed;
  {
    Transaction transaction(pool->database());
    ASSERT_TRUE(transaction.begin());
    ASSERT_TRUE(
        pool->database().execute("PRAGMA user_version = 4; UPDATE namespaces SET clean = 0"));
    ASSERT_TRUE(transaction.commit());
  }
  killed.copy_files_from(path_);
  std::fstream(killed.path() + "/pool.db").seekp(60).write("\0\0\0\x01", 4);
  ASSERT_EQ(killed.read("pool.db").substr(60, 4), std::string("\0\0\0\x01", 4));
  const auto again = Pool::open(killed.path(), Pool::Mode::kReadWrite);
  ASSERT_TRUE(again) << again.error().describe();
  EXPECT_EQ(killed.read("pool.db").substr(60, 4), std::string("\0\0\0\x04", 4));
  EXPECT_FALSE((*again)->is_clean(1).value()) << "what was in the WAL is there";
}

TEST_F(PoolTest, OtherDatabasesAndVersionsAreEio) {
  create();
  overwrite("pool.db", 60, std::string("\0\0\0\0", 4));
  EXPECT_EQ(open_error().err(), EIO);
  overwrite("pool.db", 60, std::string("\0\0\0\x01\0\0\0\0else", 12));
  EXPECT_EQ(open_error().err(), EIO);
  std::ofstream(path_ + "/pool.db", std::ios::trunc) << "";
  EXPECT_EQ(open_error().err(), EIO);
}

TEST_F(PoolTest, ACorruptDatabaseIsEioWithAWayOnAndTheImageIsUntouched) {
  create();
  const std::string image = dir_.read("pool/region0.img");
  overwrite("pool.db", 4096, std::string(8192, '\x55'));
  const Error error = open_error();
  EXPECT_EQ(error.err(), EIO);
  EXPECT_THAT(error.message, HasSubstr(path_ + "/pool.db: "));
  EXPECT_EQ(error.hint, "restore it from a backup; the images are untouched");
  EXPECT_EQ(dir_.read("pool/region0.img"), image);
}

TEST_F(PoolTest, LabelsThatContradictAreEioNamingTheObject) {
  create();
  change_database("UPDATE namespaces SET size = size + 4194304");
  const Error error = open_error();
  EXPECT_EQ(error.err(), EIO);
  EXPECT_THAT(error.message, HasSubstr("namespace0.0: its range"));
}

TEST_F(PoolTest, ValuesNoPoolHoldsAreEio) {
  create();
  const auto good = contents();
  for (const char* sql :
       {"UPDATE meta SET uuid = 'x'", "DELETE FROM meta", "UPDATE regions SET id = -1",
        "UPDATE regions SET id = 1 << 40", "UPDATE namespaces SET id = -1",
        "UPDATE namespaces SET mode = 'raw'", "UPDATE namespaces SET start = -2097152",
        "UPDATE regions SET size = -1", "DELETE FROM regions", "DROP TABLE namespaces"}) {
    change_database(sql);
    EXPECT_EQ(open_error().err(), EIO) << sql;
    std::ofstream(path_ + "/pool.db", std::ios::binary) << good.at("pool.db");
  }
}

TEST_F(PoolTest, AMissingImageIsEioWithItsName) {
  create();
  std::filesystem::remove(path_ + "/region0.img");
  const Error error = open_error();
  EXPECT_EQ(error.err(), EIO);
  EXPECT_THAT(error.message, HasSubstr("region0.img is missing"));
  EXPECT_THAT(error.message, HasSubstr("16777216"));
}

TEST_F(PoolTest, AShortImageIsEioWithBothSizes) {
  create();
  std::filesystem::resize_file(path_ + "/region0.img", 4 * kMiB);
  const Error error = open_error();
  EXPECT_EQ(error.err(), EIO);
  EXPECT_THAT(error.message, HasSubstr("4194304"));
  EXPECT_THAT(error.message, HasSubstr("16777216"));
}

// --- check

TEST_F(PoolTest, CheckFindsWhatIsWrong) {
  const std::string uuid = create()->namespaces()[0].uuid;
  overwrite("region0.img", 4096 + 16, "X");
  overwrite("region0.img", kSize, "more");
  std::ofstream(path_ + "/region7.img") << "";
  change_database(
      "INSERT INTO xattrs VALUES (5 << 40, 'user.a', x'62'); UPDATE meta SET next_serial = 1");
  const auto pool = open(Pool::Mode::kReadOnly);
  EXPECT_THAT(findings(*pool),
              ElementsAre("pool.db: xattrs of serial 5, which no namespace has",
                          "pool.db: serial 1 is in use, but next_serial is not above it",
                          "region0: its image has 16777220 bytes, recorded are 16777216",
                          "region7.img: there is no such region",
                          HasSubstr("namespace0.0: the info block is damaged")));
}

TEST_F(PoolTest, CheckFindsOldBytesInFreeSpace) {
  auto pool = create();
  ASSERT_TRUE(pool->destroy_namespace(pool->namespaces()[0]));
  EXPECT_THAT(findings(*pool), IsEmpty());
  overwrite("region0.img", 9 * kMiB, "secret");
  EXPECT_THAT(findings(*pool), ElementsAre("region0: free bytes in [0x0, 0x1000000) are not zero"));
}

TEST_F(PoolTest, CheckRunsBesideADaemonThatChangesThings) {
  const auto pool = create();
  std::thread changer([&] {
    for (int i = 0; i < 200; ++i) EXPECT_EQ(pool->set_clean(1, i % 2 == 0).err(), 0);
  });
  for (int i = 0; i < 5; ++i) EXPECT_THAT(findings(*pool), IsEmpty());
  changer.join();
}

}  // namespace
}  // namespace pmemd
