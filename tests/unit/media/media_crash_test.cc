// A range is injected, and cleared; the daemon is killed at any step. Opened again, a block that is
// good reads what was written, and one that isn't is still bad: never good with old bytes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/base/fault.h"
#include "tests/unit/media/media_fixture.h"
#include "tests/unit/pool/killed_at.h"

namespace pmemd {
namespace {

using ::testing::ElementsAre;

constexpr DataRange kBlock = {8192, 12288};
constexpr DataRange kAround = {4096, 16384};

// What makes the block good, and what it holds then.
struct Clearing {
  const char* name;
  std::function<Result<void>(StoredMedia&)> run;
  char byte;
};

const std::vector<Clearing>& clearings() {
  static const std::vector<Clearing> all = {
      {"write", [](StoredMedia& s) { return s.write(kBlock.begin, std::string(4096, 'n')); }, 'n'},
      {"zero", [](StoredMedia& s) { return s.media().zero(kBlock); }, '\0'},
      {"discard", [](StoredMedia& s) { return s.media().discard(kBlock); }, '\0'},
      {"allocate", [](StoredMedia& s) { return s.media().allocate(kBlock); }, '\0'},
      {"clear",
       [](StoredMedia& s) -> Result<void> {
         PMEMD_TRY(s.media().clear({kBlock}));
         return {};
       },
       '\0'},
  };
  return all;
}

class MediaCrash : public testing::Test {
 protected:
  // A bad block, injected and known, between good ones; all of them with old bytes.
  MediaCrash() {
    StoredMedia::create(path_);
    StoredMedia stored(path_);
    must(stored.write(kAround.begin, std::string(kAround.length(), 'o')));
    must(stored.media().persist(kAround));
    must(stored.inject(kBlock, true));
  }
  ~MediaCrash() override { FaultPoint::disarm_all(); }

  // Whether the block of a pool that was left is good; and whether all is as it may be.
  static bool verify(const std::string& path, char byte) {
    StoredMedia stored(path);
    EXPECT_EQ(stored.read({kAround.begin, kBlock.begin}).value_or("bad"), std::string(4096, 'o'));
    EXPECT_EQ(stored.read({kBlock.end, kAround.end}).value_or("bad"), std::string(4096, 'o'));
    const auto bad = stored.media().bad(kAround);
    if (bad.empty()) {
      EXPECT_EQ(stored.read(kBlock).value_or("bad"), std::string(4096, byte));
      return true;
    }
    EXPECT_THAT(bad, ElementsAre(kBlock)) << "none of it, or all";
    EXPECT_EQ(stored.read(kBlock).err(), EIO);
    // It can be made good again.
    EXPECT_TRUE(stored.write(kBlock.begin, std::string(4096, 'w')));
    EXPECT_EQ(stored.read(kBlock).value_or("bad"), std::string(4096, 'w'));
    return false;
  }
  // In a fresh copy of the pool, killed before the call that counts `kill_at`.
  struct Killed {
    Traced traced;
    std::unique_ptr<TemporaryDirectory> left;
  };
  Killed killed(size_t kill_at, const std::function<Result<void>(StoredMedia&)>& change) const {
    Killed killed;
    killed.left = std::make_unique<TemporaryDirectory>(TemporaryDirectory::Place::kInMemory);
    killed.left->copy_files_from(path_);
    std::unique_ptr<StoredMedia> stored;
    killed.traced = run_killed_at(
        kill_at,
        [&] {
          stored = std::make_unique<StoredMedia>(killed.left->path());
          return 0;
        },
        [&] { return change(*stored).err(); });
    return killed;
  }

  const TemporaryDirectory directory_{TemporaryDirectory::Place::kInMemory};
  const std::string path_ = directory_.path();
};

TEST_F(MediaCrash, StoppedAtAnyFaultPointItIsStillBadOrGoodWithNewBytes) {
  for (const Clearing& clearing : clearings()) {
    for (const char* point :
         {"clear.write", "clear.persist", "clear.record", "media.write-record"}) {
      SCOPED_TRACE(std::string(clearing.name) + " stopped at " + point);
      const TemporaryDirectory running(TemporaryDirectory::Place::kInMemory);
      running.copy_files_from(path_);
      StoredMedia stored(running.path());
      must(FaultPoint::arm(point, {}));
      EXPECT_EQ(clearing.run(stored).err(), EIO);
      EXPECT_EQ(stored.read(kBlock).err(), EIO) << "nor is it good before the restart";
      const TemporaryDirectory left(TemporaryDirectory::Place::kInMemory);
      left.copy_files_from(running.path());
      EXPECT_FALSE(verify(left.path(), clearing.byte));
      // Once the cause is gone the same call succeeds.
      must(clearing.run(stored));
      EXPECT_EQ(stored.read(kBlock).value_or("bad"), std::string(4096, clearing.byte));
    }
  }
}

TEST_F(MediaCrash, KilledBeforeAnyCallAClearingIsDoneOrNot) {
  for (const Clearing& clearing : clearings()) {
    bool was_good = false;
    for (size_t kill_at = 0;; ++kill_at) {
      SCOPED_TRACE(std::string(clearing.name) + " killed before call " + std::to_string(kill_at));
      const Killed run = killed(kill_at, clearing.run);
      if (!run.traced.possible) GTEST_SKIP() << "processes can't be traced here";
      const bool good = verify(run.left->path(), clearing.byte);
      EXPECT_TRUE(good || !was_good) << "what was good stays good";
      was_good = good;
      if (HasFailure()) return;
      if (run.traced.killed) continue;
      EXPECT_EQ(run.traced.exit_code, 0);
      EXPECT_TRUE(good) << "it had returned";
      EXPECT_GE(kill_at, 2u);
      break;
    }
  }
}

TEST_F(MediaCrash, KilledBeforeAnyCallAnInjectionIsThereWholeOrNot) {
  const DataRange more = {16384, 20480};
  for (size_t kill_at = 0;; ++kill_at) {
    SCOPED_TRACE("killed before call " + std::to_string(kill_at));
    const Killed run =
        killed(kill_at, [&](StoredMedia& stored) { return stored.inject(more, true); });
    if (!run.traced.possible) GTEST_SKIP() << "processes can't be traced here";
    StoredMedia stored(run.left->path());
    const auto injected = stored.errors().injected(stored.in_region(more));
    EXPECT_EQ(injected, stored.errors().known(stored.in_region(more)));
    EXPECT_LE(injected.size(), 1u);
    EXPECT_THAT(stored.media().bad(kAround), ElementsAre(kBlock)) << "what was bad stays bad";
    if (run.traced.killed) continue;
    EXPECT_THAT(stored.media().bad(more), ElementsAre(more));
    break;
  }
}

// Power loss takes what isn't synced. So the bytes must be synced before the record says that they
// are good.
TEST_F(MediaCrash, BytesAreDurableBeforeTheRecordGoes) {
  for (const Clearing& clearing : clearings()) {
    SCOPED_TRACE(clearing.name);
    const Killed run = killed(SIZE_MAX, clearing.run);
    if (!run.traced.possible) GTEST_SKIP() << "processes can't be traced here";
    const auto& calls = run.traced.calls;
    const auto sync = std::ranges::find(calls, "msync");
    const auto record = std::ranges::find(calls, "write");
    ASSERT_NE(record, calls.end());
    EXPECT_LT(sync, record);
    // A hole that is punched behind the sync would be lost.
    EXPECT_EQ(std::find(sync, record, "fallocate"), record);
    EXPECT_EQ(std::count(calls.begin(), record, "msync"), 1);
  }
}

}  // namespace
}  // namespace pmemd
