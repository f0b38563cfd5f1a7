// Volumes, killed while they are made or destroyed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/unit/pool/pool_crash.h"

namespace pmemd {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<uint64_t> serials(const Pool& pool) {
  std::vector<uint64_t> found;
  for (const auto& record : pool.namespaces()) found.push_back(record.serial);
  return found;
}

int rows_of(Pool& pool, uint64_t serial) {
  MutexLock lock(pool.database().mutex());
  int rows = 0;
  for (const char* sql : {"SELECT count(*) FROM inodes WHERE ino >= ?1 AND ino < ?2",
                          "SELECT count(*) FROM extents WHERE ino >= ?1 AND ino < ?2"}) {
    auto count = pool.database().prepare(sql);
    EXPECT_TRUE(count);
    count->bind(0, static_cast<int64_t>(make_inode_number(serial, 0)))
        .bind(1, static_cast<int64_t>(make_inode_number(serial + 1, 0)));
    EXPECT_TRUE(count->step());
    rows += static_cast<int>(count->column_int(0));
  }
  return rows;
}

void expect_zeros(Pool& pool, const NamespaceRecord& record) {
  const auto image = pool.map_namespace(record);
  ASSERT_TRUE(image);
  EXPECT_EQ((*image)->is_zero(kNamespaceMetadataSize, record.data_bytes()), true) << record.name();
}

// Legs that were used, as an empty file system that was enabled once: a root, a superblock.
class VolumeCrash : public PoolCrash {
 protected:
  VolumeCrash() {
    const auto pool = open();
    EXPECT_EQ(use(*pool, pool->namespaces()[0]), 0);
  }
  static int create(Pool& pool) {
    return pool.create_volume(VolumeType::kStriped, 64 * kKiB, serials(pool)).err();
  }
};

TEST_F(VolumeCrash, ACreatedVolumeIsThereOrNotAndItsLegsAreEmpty) {
  kill_everywhere([](Pool& pool) { return create(pool); },
                  [](Pool& pool, bool returned) {
                    if (returned) {
                      EXPECT_THAT(names(pool.volumes()), ElementsAre("volume0"));
                    }
                    if (!pool.volumes().empty()) {
                      for (const auto& record : pool.namespaces()) {
                        expect_zeros(pool, record);
                        EXPECT_EQ(rows_of(pool, record.serial), 0);
                        EXPECT_EQ(pool.destroy_namespace(record).err(), EBUSY);
                      }
                      EXPECT_EQ(pool.volumes()[0].legs, serials(pool)) << "in their order";
                    } else {
                      EXPECT_FALSE(pool.volume_of(serials(pool)[0]));
                      EXPECT_EQ(create(pool), 0);
                      EXPECT_THAT(names(pool.volumes()), ElementsAre("volume0"));
                    }
                  });
}

TEST_F(VolumeCrash, ADestroyedVolumeIsThereAsItWasOrGoneWithItsBytes) {
  {
    const auto pool = open();
    ASSERT_EQ(create(*pool), 0);
    const auto space = pool->namespaces()[1];
    const std::string text(64 * kKiB, 'V');
    ASSERT_TRUE((*pool->map_namespace(space))
                    ->write(kNamespaceMetadataSize, std::as_bytes(std::span(text))));
    Transaction transaction(pool->database());
    ASSERT_TRUE(transaction.begin());
    const auto ino = static_cast<int64_t>(make_inode_number(pool->volumes()[0].serial, kRootIndex));
    for (const char* sql :
         {"INSERT INTO inodes (ino, mode, uid, gid, nlink, rdev, size, atime, mtime, ctime, btime)"
          " VALUES (?, 33188, 0, 0, 1, 0, 0, 0, 0, 0, 0)",
          "INSERT INTO extents VALUES (?, 0, 65536, 65536)"}) {
      auto statement = pool->database().prepare(sql);
      ASSERT_TRUE(statement && statement->bind(0, ino).run());
    }
    ASSERT_TRUE(transaction.commit());
  }
  kill_everywhere(
      [](Pool& pool) { return pool.destroy_volume(pool.volumes()[0]).err(); },
      [](Pool& pool, bool returned) {
        const auto spaces = pool.namespaces();
        if (!pool.volumes().empty()) {
          EXPECT_FALSE(returned);
          std::byte byte{};
          ASSERT_TRUE((*pool.map_namespace(spaces[1]))->read(kNamespaceMetadataSize, {&byte, 1}));
          EXPECT_EQ(byte, std::byte{'V'});
          EXPECT_EQ(rows_of(pool, pool.volumes()[0].serial), 2);
          return;
        }
        for (const auto& record : spaces) {
          expect_zeros(pool, record);
          EXPECT_FALSE(pool.volume_of(record.serial));
        }
        EXPECT_EQ(rows_of(pool, 4), 0);
        EXPECT_EQ(pool.destroy_namespace(spaces[0]).err(), 0);
      });
}

TEST_F(VolumeCrash, EachStepIsDurableBeforeTheNext) {
  const auto steps = [&](const std::function<int(Pool&)>& change) {
    std::unique_ptr<Pool> pool;
    const auto open_and_start_wal = [&] {
      const int err = open_for(pool, path_);
      return err != 0 ? err : pool->set_clean(3, !*pool->is_clean(3)).err();
    };
    const Traced traced =
        run_killed_at(SIZE_MAX, open_and_start_wal, [&] { return change(*pool); });
    EXPECT_EQ(traced.exit_code, 0);
    std::vector<std::string> calls;
    std::ranges::unique_copy(traced.calls, std::back_inserter(calls));
    return calls;
  };
  if (!run_killed_at(SIZE_MAX, [] { return 0; }, [] { return 0; }).possible) {
    GTEST_SKIP() << "processes can't be traced here";
  }
  EXPECT_THAT(steps(create), ElementsAre("write", "fdatasync", "fallocate", "msync", "fallocate",
                                         "msync", "write", "fdatasync"));
  EXPECT_THAT(
      steps([](Pool& pool) { return pool.destroy_volume(pool.volumes()[0]).err(); }),
      ElementsAre("write", "fdatasync", "fallocate", "msync", "fallocate", "msync", "write"));
}

}  // namespace
}  // namespace pmemd
