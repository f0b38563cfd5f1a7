// A pool whose process is killed at each point of a change: the next open finds a legal pool, with
// the change made or not, and no old byte in what is free.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/pool/schema.h"
#include "tests/unit/pool/killed_at.h"
#include "tests/unit/pool/pool_fixture.h"

namespace pmemd {

inline constexpr uint64_t kRegionSize = 16 * kMiB;
inline constexpr uint64_t kSize = 4 * kMiB;

// Fills a namespace with bytes and rows, as a file system would.
inline int use(Pool& pool, const NamespaceRecord& record) {
  const auto image = pool.map_namespace(record);
  if (!image) return image.err();
  const std::string text(64 * kKiB, 'S');
  if (!(*image)->write(kNamespaceMetadataSize, std::as_bytes(std::span(text)))) return EIO;
  Transaction transaction(pool.database());
  if (!transaction.begin()) return EIO;
  const uint64_t ino = make_inode_number(record.serial, kRootIndex);
  for (const char* sql :
       {"INSERT INTO inodes (ino, mode, uid, gid, nlink, rdev, size, atime, mtime, ctime, btime)"
        " VALUES (?, 16877, 0, 0, 1, 0, 0, 0, 0, 0, 0)",
        "INSERT INTO dirents (parent, name, ino, type) VALUES (?1, x'61', ?1, 4)",
        "INSERT INTO extents VALUES (?, 0, 0, 65536)",
        "INSERT INTO xattrs VALUES (?, 'user.a', x'62')"}) {
    auto statement = pool.database().prepare(sql);
    if (!statement || !statement->bind(0, static_cast<int64_t>(ino)).run()) return EIO;
  }
  return transaction.commit().err();
}

class PoolCrash : public PoolFixture {
 protected:
  // A pool with namespace0.0 and, filled, namespace0.1.
  PoolCrash() {
    const auto pool = create_pool(kRegionSize);
    must(pool->destroy_namespace(pool->namespaces()[0]));
    for (int i = 0; i < 2; ++i) must(pool->create_namespace({.size_bytes = kSize}));
    EXPECT_EQ(use(*pool, pool->namespaces()[1]), 0);
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
        const auto read_only = must(Pool::open(path, Pool::Mode::kReadOnly));
        EXPECT_THAT(findings(*read_only), ::testing::IsEmpty());
      }
      const auto pool = must(Pool::open(path, Pool::Mode::kReadWrite));
      EXPECT_THAT(findings(*pool), ::testing::IsEmpty());
      verify(*pool, !traced.killed);
      if (HasFailure()) return;
      if (!traced.killed) {
        EXPECT_GT(kill_at, 5u);
        return;
      }
    }
  }
};

}  // namespace pmemd
