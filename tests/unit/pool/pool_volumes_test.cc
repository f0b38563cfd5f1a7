// Volumes of a pool: what can be a leg, what is told, what a reopened pool knows.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "core/pool/pool.h"
#include "core/pool/pool_directory.h"
#include "core/pool/schema.h"
#include "tests/unit/pool/pool_fixture.h"

namespace pmemd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class PoolVolumes : public PoolFixture {
 protected:
  PoolVolumes() {
    pool_ = create_pool(24 * kMiB);
    must(pool_->destroy_namespace(pool_->namespaces()[0]));
    for (int i = 0; i < 4; ++i) must(pool_->create_namespace({.size_bytes = 4 * kMiB}));
    must(pool_->create_namespace({.mode = NamespaceMode::kDevDax, .size_bytes = 4 * kMiB}));
  }

  uint64_t serial(const std::string& name) const {
    if (const auto space = pool_->find_namespace(name)) return space->serial;
    const auto volume = pool_->find_volume(name);
    return volume ? volume->serial : 999;
  }
  Result<VolumeRecord> create(const std::vector<std::string>& legs,
                              VolumeType type = VolumeType::kLinear, uint64_t chunk = 0) const {
    std::vector<uint64_t> serials;
    for (const std::string& leg : legs) serials.push_back(serial(leg));
    return pool_->create_volume(type, chunk, serials);
  }
};

TEST_F(PoolVolumes, AreThereAfterAReopenWithTheirLegsInOrder) {
  const auto striped = create({"namespace0.2", "namespace0.0"}, VolumeType::kStriped, 8 * kKiB);
  ASSERT_TRUE(striped) << striped.error().describe();
  const auto outer = create({"volume0", "namespace0.3"});
  ASSERT_TRUE(outer) << outer.error().describe();
  EXPECT_EQ(outer->data_bytes(), 6 * kMiB);
  for (const auto mode : {Pool::Mode::kReadWrite, Pool::Mode::kReadOnly}) {
    reopen(mode);
    const auto volumes = pool_->volumes();
    ASSERT_EQ(volumes.size(), 2u);
    EXPECT_EQ(volumes[0].name(), "volume0");
    EXPECT_EQ(volumes[0].device_name(), "vol0");
    EXPECT_EQ(volumes[0].uuid, striped->uuid);
    EXPECT_EQ(volumes[0].table.type(), VolumeType::kStriped);
    EXPECT_EQ(volumes[0].table.chunk_bytes(), 8 * kKiB);
    EXPECT_EQ(volumes[0].data_bytes(), 4 * kMiB);
    EXPECT_THAT(volumes[0].legs, ElementsAre(serial("namespace0.2"), serial("namespace0.0")));
    EXPECT_THAT(volumes[1].legs, ElementsAre(volumes[0].serial, serial("namespace0.3")));
    EXPECT_EQ(pool_->volume_of(serial("namespace0.2"))->name(), "volume0");
    EXPECT_EQ(pool_->volume_of(volumes[0].serial)->name(), "volume1");
    EXPECT_FALSE(pool_->volume_of(volumes[1].serial));
    EXPECT_THAT(findings(*pool_), IsEmpty());
  }
}

TEST_F(PoolVolumes, ARangeComesDownToNamespacesThroughAllLayers) {
  ASSERT_TRUE(create({"namespace0.0", "namespace0.1"}, VolumeType::kStriped, kMiB));
  ASSERT_TRUE(create({"namespace0.2", "volume0"}));
  std::vector<std::string> found;
  for (const auto& [record, range] :
       pool_->namespaces_under(serial("volume1"), {2 * kMiB - 1, 4 * kMiB - 1})) {
    found.push_back(record.name() + " " + std::to_string(range.begin) + "-" +
                    std::to_string(range.end));
  }
  EXPECT_THAT(found, ElementsAre("namespace0.2 2097151-2097152", "namespace0.0 0-1048576",
                                 "namespace0.1 0-1048575"));
  EXPECT_THAT(pool_->namespaces_under(999, {0, 1}), IsEmpty());
}

TEST_F(PoolVolumes, RefusesWhatCanBeNoLeg) {
  EXPECT_EQ(create({}).err(), EINVAL);
  EXPECT_EQ(create({"namespace0.9"}).err(), ENOENT);
  EXPECT_EQ(create({"namespace0.0", "namespace0.0"}).err(), EINVAL) << "named twice";
  EXPECT_EQ(create({"namespace0.4"}).err(), EINVAL) << "no fsdax";
  EXPECT_EQ(create({"namespace0.0"}, VolumeType::kStriped, 3).err(), EINVAL);
  ASSERT_TRUE(create({"namespace0.0"}));
  const auto again = create({"namespace0.0", "namespace0.1"});
  EXPECT_EQ(again.err(), EBUSY);
  EXPECT_THAT(again.error().message, HasSubstr("leg of volume0"));
  const uint64_t file = make_inode_number(serial("namespace0.1"), 2);
  sql("INSERT INTO inodes (ino, mode, uid, gid, nlink, rdev, size, atime, mtime, ctime, btime)"
      " VALUES (" +
      std::to_string(file) + ", 33188, 0, 0, 1, 0, 0, 0, 0, 0, 0)");
  EXPECT_EQ(create({"namespace0.1"}).err(), ENOTEMPTY);
  sql("UPDATE inodes SET nlink = 0 WHERE ino = " + std::to_string(file));
  EXPECT_EQ(create({"namespace0.1"}).err(), 0) << "an orphan goes with what it was";
  EXPECT_THAT(findings(*pool_), IsEmpty());
}

TEST_F(PoolVolumes, NeitherALegNorWhatIsUnderOneIsDestroyed) {
  ASSERT_TRUE(create({"namespace0.0"}));
  ASSERT_TRUE(create({"volume0"}));
  const auto leg = pool_->destroy_namespace(*pool_->find_namespace("namespace0.0"));
  EXPECT_EQ(leg.err(), EBUSY);
  EXPECT_THAT(leg.error().message, HasSubstr("volume0"));
  const auto inner = *pool_->find_volume("volume0");
  EXPECT_EQ(pool_->destroy_volume(inner).err(), EBUSY);
  ASSERT_TRUE(pool_->destroy_volume(*pool_->find_volume("volume1")));
  ASSERT_TRUE(pool_->destroy_volume(inner));
  EXPECT_EQ(pool_->destroy_volume(inner).err(), ENOENT);
  EXPECT_EQ(pool_->find_volume("volume0").err(), ENOENT);
  EXPECT_TRUE(pool_->destroy_namespace(*pool_->find_namespace("namespace0.0")));
}

TEST_F(PoolVolumes, AnIdIsTakenAgainASerialIsNot) {
  const auto first = create({"namespace0.0"});
  ASSERT_TRUE(first);
  ASSERT_TRUE(create({"namespace0.1"}));
  ASSERT_TRUE(pool_->destroy_volume(*first));
  const auto again = create({"namespace0.0"});
  ASSERT_TRUE(again);
  EXPECT_EQ(again->name(), "volume0");
  EXPECT_GT(again->serial, serial("volume1"));
}

TEST_F(PoolVolumes, CleanIsKept) {
  const auto volume = create({"namespace0.0"});
  ASSERT_TRUE(volume);
  EXPECT_EQ(pool_->is_clean(volume->serial), true);
  ASSERT_TRUE(pool_->set_clean(volume->serial, false));
  reopen();
  EXPECT_EQ(pool_->is_clean(volume->serial), false);
  EXPECT_EQ(pool_->is_clean(serial("namespace0.0")), true) << "its own";
  EXPECT_EQ(pool_->set_clean(999, true).err(), ENOENT);
}

TEST_F(PoolVolumes, AFailedStepLeavesAllAsItWas) {
  for (const char* step :
       {"create-volume.label", "create-volume.zero", "create-volume.mark-live"}) {
    SCOPED_TRACE(step);
    ASSERT_TRUE(FaultPoint::arm(step, {}));
    EXPECT_EQ(create({"namespace0.0", "namespace0.1"}).err(), EIO);
    EXPECT_THAT(pool_->volumes(), IsEmpty());
    EXPECT_FALSE(pool_->volume_of(serial("namespace0.0")));
    EXPECT_THAT(findings(*pool_), IsEmpty());
  }
  ASSERT_TRUE(create({"namespace0.0", "namespace0.1"}));
  ASSERT_TRUE(FaultPoint::arm("destroy-volume.mark", {}));
  EXPECT_EQ(pool_->destroy_volume(*pool_->find_volume("volume0")).err(), EIO);
  EXPECT_EQ(pool_->volumes().size(), 1u);
}

TEST_F(PoolVolumes, OneWhoseEndCantBeRecordedIsStillThere) {
  const auto volume = must(create({"namespace0.0"}));
  refuse_marks("volumes");
  EXPECT_FALSE(pool_->destroy_volume(volume));
  EXPECT_THAT(names(pool_->volumes()), ElementsAre("volume0"));
  EXPECT_EQ(pool_->volume_of(serial("namespace0.0"))->name(), "volume0");
  allow_marks();
  EXPECT_TRUE(pool_->destroy_volume(volume));
  EXPECT_FALSE(pool_->volume_of(serial("namespace0.0")));
}

TEST_F(PoolVolumes, OneThatIsHalfDestroyedGivesItsLegsBackLater) {
  for (const char* step : {"destroy-volume.zero", "destroy-volume.rows", "destroy-volume.label"}) {
    SCOPED_TRACE(step);
    ASSERT_TRUE(create({"namespace0.0"}));
    ASSERT_TRUE(FaultPoint::arm(step, {}));
    EXPECT_EQ(pool_->destroy_volume(*pool_->find_volume("volume0")).err(), EIO);
    EXPECT_THAT(pool_->volumes(), IsEmpty());
    // The next one finishes it.
    ASSERT_TRUE(create({"namespace0.0"}));
    ASSERT_TRUE(pool_->destroy_volume(*pool_->find_volume("volume0")));
  }
}

TEST_F(PoolVolumes, RowsThatAreNoVolumeAreRefused) {
  ASSERT_TRUE(create({"namespace0.0", "namespace0.1"}));
  const auto refused = [&](const std::string& change, const std::string& back) {
    sql(change);
    pool_.reset();
    const auto pool = Pool::open(path_, Pool::Mode::kReadOnly);
    EXPECT_EQ(pool.err(), EIO) << change;
    {
      const auto database = *Database::open(database_path(path_), Database::Mode::kReadWrite);
      MutexLock lock(database->mutex());
      ASSERT_TRUE(database->execute(back));
    }
    reopen();
  };
  refused("UPDATE volumes SET type = 'mirror'", "UPDATE volumes SET type = 'linear'");
  refused("UPDATE volumes SET chunk = 1", "UPDATE volumes SET chunk = 0");
  refused("UPDATE volumes SET uuid = 'x'",
          "UPDATE volumes SET uuid = '01234567-89ab-cdef-0123-456789abcdef'");
  refused("UPDATE volume_legs SET leg = 999 WHERE position = 0",
          "UPDATE volume_legs SET leg = 2 WHERE position = 0");
  EXPECT_THAT(findings(*pool_), IsEmpty());
}

}  // namespace
}  // namespace pmemd
