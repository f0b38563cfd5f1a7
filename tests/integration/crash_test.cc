// "Must show" 2: what was stored before a forced removal, what was synced before a surprise or a
// SIGKILL of the daemon, and every change that was acknowledged before it, is there after a
// restart.
//
// PMEMD_CRASH_SEED is the first seed, PMEMD_CRASH_SEEDS how many follow (a few seconds each ten).
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <random>
#include <thread>

#include "core/base/units.h"
#include "tests/integration/support/client.h"
#include "tests/integration/support/client_memory.h"
#include "tests/integration/support/file_model.h"
#include "tests/integration/support/removal_fixture.h"

namespace pmemd {
namespace {

uint64_t number_from_env(const char* name, uint64_t otherwise) {
  const char* text = getenv(name);
  return text == nullptr ? otherwise : std::stoull(text);
}

using CrashTest = RemovalTest;

TEST_F(CrashTest, StoresBeforeAForcedRemovalSurviveTheDeathOfTheDaemon) {
  make_file("pmem0/a", 8 * kMiB);
  std::string stored, stored_dax;
  {
    Client a, dax;
    a.map_file(pool_.path("pmem0/a"), 8 * kMiB);
    dax.map_file(pool_.path("dax0.1"), 8 * kMiB);
    ASSERT_EQ(a.ask("fill 0 11"), "ok");  // never synced by them
    ASSERT_EQ(dax.ask("fill 0 12"), "ok");
    stored = a.ask("hash 0");
    stored_dax = dax.ask("hash 0");
    pool_.ctl_json({"disable-region", "region0", "--force"});
    pool_.kill9();
  }
  pool_.start();
  pool_.expect_check_passes();
  Client a, dax;
  a.map_file(pool_.path("pmem0/a"), 8 * kMiB);
  dax.map_file(pool_.path("dax0.1"), 8 * kMiB);
  EXPECT_EQ(a.ask("hash 0"), stored);
  EXPECT_EQ(dax.ask("hash 0"), stored_dax);
}

TEST_F(CrashTest, StoresOfLiveMappingsSurviveACleanEnd) {
  make_file("pmem0/a", 8 * kMiB);
  Client client;
  client.map_file(pool_.path("pmem0/a"), 8 * kMiB);
  ASSERT_EQ(client.ask("fill 0 13"), "ok");
  const std::string stored = client.ask("hash 0");
  pool_.stop();  // while it is mapped
  EXPECT_EQ(client.ask("load 0 0"), "sigbus 2 0");
  pool_.expect_check_passes();
  pool_.start();
  Client again;
  again.map_file(pool_.path("pmem0/a"), 8 * kMiB);
  EXPECT_EQ(again.ask("hash 0"), stored);
}

TEST_F(CrashTest, WhatWasSyncedSurvivesAKill) {
  make_file("pmem0/a", 8 * kMiB);
  std::string stored;
  {
    Client a, b;
    a.map_file(pool_.path("pmem0/a"), 8 * kMiB);
    ASSERT_EQ(a.ask("fill 0 14"), "ok");
    stored = a.ask("hash 0");
    ASSERT_EQ(a.ask("msync 0"), "ok");
    b.map_file(pool_.path("dax0.1"), 8 * kMiB);
    ASSERT_EQ(b.ask("fill 0 14"), "ok");
    ASSERT_EQ(b.ask("fsync 0"), "ok");
    pool_.kill9();
    EXPECT_EQ(a.ask("pwrite 0 0 1"), "error ENOTCONN");
  }
  pool_.start();  // takes the dead mount over
  pool_.expect_check_passes();
  Client a, b;
  a.map_file(pool_.path("pmem0/a"), 8 * kMiB);
  b.map_file(pool_.path("dax0.1"), 8 * kMiB);
  EXPECT_EQ(a.ask("hash 0"), stored);
  EXPECT_EQ(b.ask("hash 0"), stored);
}

TEST_F(CrashTest, FilesThatWereUnlinkedButOpenAreGoneAfterAKill) {
  make_file("pmem0/a", 8 * kMiB);
  const auto free_before = std::filesystem::space(pool_.path("pmem0")).free;
  {
    Client client;
    client.map_file(pool_.path("pmem0/a"), kMiB);
    std::filesystem::remove(pool_.path("pmem0/a"));
    pool_.kill9();
  }
  pool_.start();
  pool_.expect_check_passes();
  EXPECT_EQ(std::filesystem::space(pool_.path("pmem0")).free, free_before + 8 * kMiB);
}

// --- random operations, killed at random points

// Kills the daemon when `count` has reached `at`, after a random moment more, so that it dies in
// the middle of operations too.
class Killer {
 public:
  Killer(Process& daemon, uint64_t at, uint64_t spins)
      : thread_([this, &daemon, at, spins] {
          while (count_.load() < at) count_.wait(count_.load());
          for (uint64_t i = 0; i < spins; ++i) std::atomic_signal_fence(std::memory_order_seq_cst);
          fired_ = true;
          daemon.signal(SIGKILL);
        }) {}
  ~Killer() {
    count_ = UINT64_MAX;
    count_.notify_all();
    thread_.join();
  }
  void count() {
    ++count_;
    count_.notify_all();
  }
  bool fired() const { return fired_; }

 private:
  std::atomic<uint64_t> count_ = 0;
  std::atomic<bool> fired_ = false;
  std::thread thread_;
};

class RandomCrashTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    umask(0);  // the model gives modes as they are asked for
    struct sigaction action = {};
    action.sa_sigaction = on_sigbus;  // the model's own stores meet a dead daemon
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGBUS, &action, nullptr);
  }

  static uint64_t first_seed() { return number_from_env("PMEMD_CRASH_SEED", 1); }
  static uint64_t seeds(uint64_t otherwise) {
    return number_from_env("PMEMD_CRASH_SEEDS", otherwise);
  }
};

void crash_again_and_again(uint64_t seed) {
  SCOPED_TRACE(fmt::format("seed {}", seed));
  constexpr int kRounds = 4;
  std::mt19937_64 random(seed);
  TestPool pool(Storage::kMemory);
  pool.start({.create = "64M", .sparse = seed % 2 == 0});
  FileModel model(pool.path("pmem0"), seed);
  for (int round = 0; round < kRounds; ++round) {
    {
      Killer killer(pool.daemon(), random() % 400, random() % 1'000'000);
      while (model.step()) killer.count();
      ASSERT_TRUE(killer.fired()) << "an operation failed while the daemon lived";
    }
    pool.kill9();
    pool.start({.create = ""});
    ASSERT_EQ(model.compare(), "") << "round " << round;
    pool.expect_check_passes();
  }
  pool.stop();
  pool.expect_check_passes();
  std::cout << fmt::format("seed {}: {} operations, {} kills\n", seed, model.operations(), kRounds)
            << std::flush;
}

TEST_F(RandomCrashTest, AcknowledgedChangesSurviveAKillAtAnyPoint) {
  for (uint64_t seed = first_seed(); seed < first_seed() + seeds(12); ++seed) {
    crash_again_and_again(seed);
    if (HasFailure()) break;
  }
}

// The daemon dies at a random point of a forced removal, its mappers storing.
TEST_F(RandomCrashTest, AKillInTheMiddleOfARemovalLeavesASoundPool) {
  for (uint64_t seed = first_seed(); seed < first_seed() + seeds(8); ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    std::mt19937_64 random(seed);
    TestPool pool(Storage::kMemory);
    pool.start({.create = "64M"});
    const std::string synced = pattern(seed, 2 * kMiB);
    write_file(pool.path("pmem0/synced"), synced);
    write_file(pool.path("pmem0/stored"), synced);
    {
      Client client;
      client.map_file(pool.path("pmem0/stored"), 2 * kMiB);
      ASSERT_EQ(client.ask("threads 2 0"), "ok");
      Killer killer(pool.daemon(), 1, random() % 20'000'000);
      killer.count();
      // It may be done before the daemon dies, or fail, or find nobody.
      (void)pool.ctl({"disable-namespace", "namespace0.0", "--force"});
    }
    pool.kill9();
    pool.start({.create = ""});
    pool.expect_check_passes();
    if (!std::filesystem::exists(pool.path("pmem0"))) {
      pool.ctl_json({"enable-namespace", "namespace0.0"});
    }
    EXPECT_EQ(read_file(pool.path("pmem0/synced")), synced);
    EXPECT_EQ(read_file(pool.path("pmem0/stored")).size(), synced.size());
  }
}

// The same operations without any crash, across clean restarts and removals.
TEST_F(RandomCrashTest, ChangesSurviveRestartsAndRemovals) {
  TestPool pool(Storage::kMemory);
  pool.start({.create = "64M"});
  const uint64_t seed = first_seed();
  std::cout << "seed " << seed << '\n';
  FileModel model(pool.path("pmem0"), seed);
  for (int round = 0; round < 6; ++round) {
    for (int i = 0; i < 300; ++i) ASSERT_TRUE(model.step());
    if (round % 2 == 0) {
      pool.ctl_json({"disable-namespace", "namespace0.0"});
      pool.ctl_json({"enable-namespace", "namespace0.0"});
    } else {
      pool.stop();
      pool.expect_check_passes();
      pool.start();
    }
    ASSERT_EQ(model.compare(), "") << "round " << round;
  }
}

}  // namespace
}  // namespace pmemd
