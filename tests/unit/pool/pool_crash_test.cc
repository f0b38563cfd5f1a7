// Regions, namespaces and pools, killed while they are made or destroyed.
#include "tests/unit/pool/pool_crash.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace pmemd {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST_F(PoolCrash, ACreatedNamespaceIsThereOrNot) {
  kill_everywhere([](Pool& pool) { return pool.create_namespace({.size_bytes = kSize}).err(); },
                  [](Pool& pool, bool returned) {
                    if (returned || pool.namespaces().size() == 3) {
                      EXPECT_THAT(names(pool.namespaces()),
                                  ElementsAre("namespace0.0", "namespace0.1", "namespace0.2"));
                    } else {
                      EXPECT_THAT(names(pool.namespaces()),
                                  ElementsAre("namespace0.0", "namespace0.1"));
                      EXPECT_EQ(pool.available(0).total_bytes, kRegionSize - 2 * kSize);
                    }
                    // Its place can be had, at another offset, and holds nothing.
                    const auto next = pool.create_namespace({.mode = NamespaceMode::kDevDax});
                    ASSERT_TRUE(next) << next.error().describe();
                    EXPECT_TRUE((*pool.map_namespace(*next))
                                    ->is_zero(kNamespaceMetadataSize, next->data_bytes())
                                    .value());
                  });
}

TEST_F(PoolCrash, ADestroyedNamespaceIsThereAsItWasOrGoneWithItsBytes) {
  kill_everywhere(
      [](Pool& pool) { return pool.destroy_namespace(pool.namespaces()[1]).err(); },
      [](Pool& pool, bool returned) {
        if (const auto still = pool.find_namespace("namespace0.1")) {
          EXPECT_FALSE(returned);
          std::byte byte{};
          ASSERT_TRUE((*pool.map_namespace(*still))->read(kNamespaceMetadataSize, {&byte, 1}));
          EXPECT_EQ(byte, std::byte{'S'});
          return;
        }
        const auto next = pool.create_namespace({});
        ASSERT_TRUE(next) << next.error().describe();
        EXPECT_EQ(next->name(), "namespace0.1");
        EXPECT_EQ(next->range, (RegionRange{kSize, kRegionSize}));
        EXPECT_TRUE((*pool.map_namespace(*next))
                        ->is_zero(kNamespaceMetadataSize, next->data_bytes())
                        .value());
      });
}

TEST_F(PoolCrash, ACreatedRegionIsThereOrNot) {
  kill_everywhere(
      [](Pool& pool) { return pool.create_region(kSize, Reservation::kReserved).err(); },
      [](Pool& pool, bool returned) {
        if (returned) {
          EXPECT_EQ(pool.regions().size(), 2);
        }
        if (pool.regions().size() == 1) {
          EXPECT_FALSE(std::filesystem::exists(pool.path() + "/region1.img"));
          EXPECT_EQ(pool.create_region(kSize, Reservation::kSparse).err(), 0);
        }
        EXPECT_EQ(pool.create_namespace({.region = 1}).err(), 0);
      });
}

TEST_F(PoolCrash, ADestroyedRegionIsThereWithWhatIsLeftOrGone) {
  {
    const auto pool = open();
    ASSERT_TRUE(pool->create_region(kRegionSize, Reservation::kSparse));
    for (int i = 0; i < 2; ++i) {
      ASSERT_TRUE(pool->create_namespace({.region = 1, .size_bytes = kSize}));
    }
    ASSERT_EQ(use(*pool, pool->namespaces()[2]), 0);
    constexpr RegionRange kBad = {2 * kSize, 2 * kSize + kSectorSize};
    ASSERT_TRUE(pool->media_errors(1)->inject({kBad}, {kBad}));
  }
  kill_everywhere(
      [](Pool& pool) {
        const auto spaces = pool.namespaces();
        return pool.destroy_region({.id = 1}, {spaces[2].serial, spaces[3].serial}).err();
      },
      [](Pool& pool, bool returned) {
        EXPECT_TRUE(pool.find_namespace("namespace0.1")) << "of another region";
        const bool is_there = pool.region(1).has_value();
        EXPECT_EQ(std::filesystem::exists(pool.path() + "/region1.img"), is_there);
        if (is_there) {
          EXPECT_FALSE(returned);
          EXPECT_TRUE(pool.media_errors(1)->is_bad({0, kRegionSize}));
          std::vector<uint64_t> serials;
          for (const auto& record : pool.namespaces()) serials.push_back(record.serial);
          ASSERT_EQ(pool.destroy_region({.id = 1}, serials).err(), 0);
        }
        EXPECT_THAT(names(pool.namespaces()), ElementsAre("namespace0.0", "namespace0.1"));
        const auto next = pool.create_region(kSize, Reservation::kSparse);
        ASSERT_TRUE(next) << next.error().describe();
        EXPECT_EQ(next->name(), "region1");
        EXPECT_FALSE(pool.media_errors(1)->is_bad({0, kSize}));
        EXPECT_THAT(findings(pool), IsEmpty());
      });
}

TEST_F(PoolCrash, ACreatedPoolIsThereOrCanBeCreated) {
  for (size_t kill_at = 0;; ++kill_at) {
    SCOPED_TRACE("killed before call " + std::to_string(kill_at));
    const TemporaryDirectory dir(TemporaryDirectory::Place::kInMemory);
    const std::string path = dir.path() + "/pool";
    const Traced traced = run_killed_at(
        kill_at, [] { return 0; },
        [&] { return Pool::create(path, kRegionSize, Reservation::kSparse).err(); });
    if (!traced.possible) GTEST_SKIP() << "processes can't be traced here";
    if (!Pool::exists(path)) {
      ASSERT_TRUE(traced.killed);
      must(Pool::create(path, kRegionSize, Reservation::kSparse));
    }
    const auto pool = must(Pool::open(path, Pool::Mode::kReadWrite));
    EXPECT_THAT(findings(*pool), IsEmpty());
    EXPECT_THAT(names(pool->namespaces()), ElementsAre("namespace0.0"));
    if (!traced.killed) break;
  }
}

// Power loss takes what isn't synced. So each step's sync must come before the next step.
TEST_F(PoolCrash, EachStepIsDurableBeforeTheNext) {
  const auto steps = [&](const std::function<int(Pool&)>& change) {
    std::unique_ptr<Pool> pool;
    const auto open_and_start_wal = [&] {  // its first write costs SQLite a sync of its own
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
  EXPECT_THAT(steps([](Pool& pool) { return pool.create_namespace({}).err(); }),
              ElementsAre("write", "fdatasync", "fallocate", "msync", "write", "fdatasync"));
  EXPECT_THAT(steps([](Pool& pool) { return pool.destroy_namespace(pool.namespaces()[0]).err(); }),
              ElementsAre("write", "fdatasync", "fallocate", "msync", "write"));
  EXPECT_THAT(
      steps([](Pool& pool) { return pool.create_region(kSize, Reservation::kSparse).err(); }),
      ElementsAre("write", "fdatasync", "create", "truncate", "fsync", "write", "fdatasync"));
  ASSERT_TRUE(open()->create_region(kSize, Reservation::kSparse));
  EXPECT_THAT(steps([](Pool& pool) { return pool.destroy_region({.id = 1}, {}).err(); }),
              ElementsAre("write", "fdatasync", "unlink", "fsync", "write"));
  EXPECT_THAT(steps([](Pool& pool) { return pool.set_clean(3, !*pool.is_clean(3)).err(); }),
              ElementsAre("write", "fdatasync"));
}

}  // namespace
}  // namespace pmemd
