// A pool whose process is killed at each point of a change: the next open finds a legal pool, with
// the change made or not, and no old byte in what is free.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "core/region/pool.h"
#include "core/region/schema.h"
#include "tests/unit/region/killed_at.h"
#include "tests/unit/temporary_directory.h"

namespace pmemd {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr uint64_t kRegionSize = 16 * kMiB;
constexpr uint64_t kSize = 4 * kMiB;

std::unique_ptr<Pool> open(const std::string& path) {
  auto pool = Pool::open(path, Pool::Mode::kReadWrite);
  EXPECT_TRUE(pool) << pool.error().describe();
  return pool ? *std::move(pool) : nullptr;
}

std::vector<std::string> findings(Pool& pool) {
  std::vector<std::string> texts;
  const auto found = check_regions(pool);
  if (!found) return {found.error().describe()};
  for (const auto& [object, problem] : *found) texts.push_back(object + ": " + problem);
  return texts;
}

std::vector<std::string> names(const Pool& pool) {
  std::vector<std::string> texts;
  for (const auto& record : pool.namespaces()) texts.push_back(record.name());
  return texts;
}

// Fills a namespace with bytes and rows, as a file system would.
int use(Pool& pool, const NamespaceRecord& record) {
  const auto image = pool.map_namespace(record);
  if (!image) return image.err();
  const std::string text(64 * kKiB, 'S');
  if (!(*image)->write(kNamespaceMetadataSize, std::as_bytes(std::span(text)))) return EIO;
  Transaction transaction(pool.database());
  if (!transaction.begin()) return EIO;
  const uint64_t ino = make_inode_number(record.serial, kRootIndex);
  for (const char* sql :
       {"INSERT INTO inodes (ino, mode, uid, gid, nlink, rdev, size, atime, mtime, ctime, btime)"
        " VALUES (?, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0)",
        "INSERT INTO dirents (parent, name, ino, type) VALUES (?1, 'a', ?1, 4)",
        "INSERT INTO extents VALUES (?, 0, 0, 65536)", "INSERT INTO xattrs VALUES (?, 'a', 'b')"}) {
    auto statement = pool.database().prepare(sql);
    if (!statement || !statement->bind(0, static_cast<int64_t>(ino)).run()) return EIO;
  }
  return transaction.commit().err();
}

class PoolCrash : public ::testing::Test {
 protected:
  // A pool with namespace0.0 and, filled, namespace0.1.
  void SetUp() override {
    const auto pool = Pool::create(path_, kRegionSize, Reservation::kSparse);
    ASSERT_TRUE(pool) << pool.error().describe();
    ASSERT_TRUE((*pool)->destroy_namespace((*pool)->namespaces()[0]));
    for (int i = 0; i < 2; ++i) ASSERT_TRUE((*pool)->create_namespace({.size_bytes = kSize}));
    ASSERT_EQ(use(**pool, (*pool)->namespaces()[1]), 0);
  }

  // 0, or an exit code.
  static int open_for(std::unique_ptr<Pool>& pool, const std::string& path) {
    auto opened = Pool::open(path, Pool::Mode::kReadWrite);
    if (opened) pool = *std::move(opened);
    return opened.err();
  }

  // Kills `change` at each point, each time with a fresh copy of the pool; `verify` gets the pool
  // opened again, and whether the change had returned.
  void kill_everywhere(const std::function<int(Pool&)>& change,
                       const std::function<void(Pool&, bool returned)>& verify) {
    for (size_t kill_at = 0;; ++kill_at) {
      SCOPED_TRACE("killed before call " + std::to_string(kill_at));
      const TemporaryDirectory copy(TemporaryDirectory::Place::kInMemory);
      const std::string path = copy.path() + "/pool";
      std::filesystem::copy(path_, path);
      std::unique_ptr<Pool> changed;
      const Traced traced = run_killed_at(
          kill_at, [&] { return open_for(changed, path); }, [&] { return change(*changed); });
      if (!traced.possible) GTEST_SKIP() << "processes can't be traced here";
      if (!traced.killed) {
        ASSERT_EQ(traced.exit_code, 0);
      }
      {
        const auto read_only = Pool::open(path, Pool::Mode::kReadOnly);
        ASSERT_TRUE(read_only) << read_only.error().describe();
        EXPECT_THAT(findings(**read_only), IsEmpty());
      }
      const auto pool = open(path);
      ASSERT_NE(pool, nullptr);
      EXPECT_THAT(findings(*pool), IsEmpty());
      verify(*pool, !traced.killed);
      if (HasFailure()) return;
      if (!traced.killed) {
        EXPECT_GT(kill_at, 5u);
        return;
      }
    }
  }

  const TemporaryDirectory dir_{TemporaryDirectory::Place::kInMemory};
  const std::string path_ = dir_.path() + "/pool";
};

TEST_F(PoolCrash, ACreatedNamespaceIsThereOrNot) {
  kill_everywhere([](Pool& pool) { return pool.create_namespace({.size_bytes = kSize}).err(); },
                  [](Pool& pool, bool returned) {
                    if (returned || pool.namespaces().size() == 3) {
                      EXPECT_THAT(names(pool),
                                  ElementsAre("namespace0.0", "namespace0.1", "namespace0.2"));
                    } else {
                      EXPECT_THAT(names(pool), ElementsAre("namespace0.0", "namespace0.1"));
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
      const auto again = Pool::create(path, kRegionSize, Reservation::kSparse);
      ASSERT_TRUE(again) << again.error().describe();
    }
    const auto pool = open(path);
    ASSERT_NE(pool, nullptr);
    EXPECT_THAT(findings(*pool), IsEmpty());
    EXPECT_THAT(names(*pool), ElementsAre("namespace0.0"));
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
  EXPECT_THAT(steps([](Pool& pool) { return pool.set_clean(3, !*pool.is_clean(3)).err(); }),
              ElementsAre("write", "fdatasync"));
}

}  // namespace
}  // namespace pmemd
