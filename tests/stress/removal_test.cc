// Removal and enabling, over and over, under threads that load and store through a model of the
// page cache: no page outlives a removal, and what was stored before it is there after it.
#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "tests/stress/support/model_cache.h"
#include "tests/unit/removal/removal_fixture.h"

namespace pmemd {
namespace {

class RemovalStress : public RemovalFixture {
 protected:
  RemovalStress() {
    kernel_.on_flush = [this](uint64_t ino) -> Result<void> {
      cache_.flush(index_of(ino));
      return {};
    };
    kernel_.on_inval = [this](uint64_t ino) -> Result<void> {
      cache_.inval(index_of(ino));
      return {};
    };
    for (uint64_t i = 0; i < ModelCache::kInodes; ++i) {
      must(devdax_.handles().add({.ino = cache_.ino(i), .writable = true}));
    }
  }

  uint64_t index_of(uint64_t ino) const { return ino - cache_.ino(0); }

  // Loads and stores until told to stop; counts what got a SIGBUS.
  void client(uint64_t seed, const std::atomic<bool>& stop) {
    std::mt19937_64 random(seed);
    while (!stop) {
      const uint64_t inode = random() % ModelCache::kInodes;
      const uint64_t page = random() % ModelCache::kPagesEach;
      const bool good = random() % 2 == 0 ? cache_.store(inode, page, random())
                                          : cache_.load(inode, page).has_value();
      ++(good ? served_ : refused_);
      if (!good) std::this_thread::yield();
    }
  }

  // Nobody loads or stores meanwhile but the clients, who may read it all back the same way.
  void check_bytes(bool surprise) {
    for (uint64_t inode = 0; inode < ModelCache::kInodes; ++inode) {
      for (uint64_t page = 0; page < ModelCache::kPagesEach; ++page) {
        const auto value = cache_.load(inode, page);
        ASSERT_TRUE(value.has_value());
        if (surprise) {
          cache_.expect(inode, page, *value);
        } else {
          ASSERT_EQ(*value, cache_.last_stored(inode, page)) << inode << ':' << page;
        }
      }
    }
  }

  ModelCache cache_{devdax_};
  std::atomic<uint64_t> served_ = 0;
  std::atomic<uint64_t> refused_ = 0;
};

TEST_F(RemovalStress, NoPageOutlivesARemovalAndNoStoreIsLost) {
  for (int round = 1; round <= 150; ++round) {
    const bool surprise = round % 5 == 0;
    SCOPED_TRACE(testing::Message() << "round (and seed) " << round);
    std::atomic<bool> stop = false;
    std::vector<std::jthread> clients;
    for (uint64_t t = 0; t < 4; ++t) {
      clients.emplace_back(
          [&, seed = static_cast<uint64_t>(round) * 100 + t] { client(seed, stop); });
    }
    const uint64_t before = served_;
    // Often early, when most pages have not been lent yet.
    const uint64_t enough = std::mt19937_64(static_cast<uint64_t>(round))() % 300;
    while (served_ < before + enough) std::this_thread::yield();
    RemovalOptions options;
    options.force = true;
    options.surprise = surprise;
    options.drain_timeout = std::chrono::minutes(2);
    const auto outcome = remove({&devdax_}, options);
    ASSERT_TRUE(outcome.result) << outcome.result.error().describe();
    // A load may be on its way to its refusal; none may end with a page.
    for (uint64_t inode = 0; inode < ModelCache::kInodes; ++inode) {
      EXPECT_FALSE(cache_.load(inode, 0).has_value());
    }
    EXPECT_EQ(devdax_.leases().totals().ranges, 0u);
    if (!surprise) {
      EXPECT_EQ(outcome.reports.at(0).lost_writebacks, 0u);
    }
    stop = true;
    clients.clear();
    EXPECT_EQ(cache_.pages_present(), 0u);
    ASSERT_TRUE(devdax_.enable());
    ASSERT_NO_FATAL_FAILURE(check_bytes(surprise));
  }
  EXPECT_GT(refused_, 0u);
}

// The same with a device that is enabled again while clients go on: nothing is quiet at any time.
TEST_F(RemovalStress, RemoveAndEnableUnderClientsThatNeverStop) {
  std::atomic<bool> stop = false;
  std::vector<std::jthread> clients;
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    clients.emplace_back([&, seed] { client(seed, stop); });
  }
  for (int round = 0; round < 200; ++round) {
    RemovalOptions options;
    options.force = true;
    options.drain_timeout = std::chrono::minutes(2);
    const auto outcome = remove({&devdax_}, options);
    ASSERT_TRUE(outcome.result) << outcome.result.error().describe();
    EXPECT_EQ(outcome.reports.at(0).lost_writebacks, 0u);
    ASSERT_TRUE(devdax_.enable());
    const uint64_t before = served_;
    while (served_ < before + 100) std::this_thread::yield();
  }
  stop = true;
  clients.clear();
  check_bytes(/*surprise=*/false);
}

}  // namespace
}  // namespace pmemd
