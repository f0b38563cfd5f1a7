// Srcu, PagemapRegistry and LeaseTable together, as a device uses them, under threads
// that never pause. For TSan and ASan above all.
#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "core/base/srcu.h"
#include "core/pagemap/pagemap_registry.h"
#include "core/references/lease_table.h"

namespace pmemd {
namespace {

constexpr std::chrono::seconds kLong{120};

// Objects are retired while readers hold them; who runs the callbacks changes all the time.
TEST(SrcuStress, RetiredObjectsOutliveTheirReaders) {
  Srcu srcu;
  struct Node {
    explicit Node(uint64_t v) : value(v) {}
    uint64_t value;
  };
  std::atomic<Node*> shared = new Node(1);
  std::atomic<bool> stop = false;
  std::atomic<uint64_t> retired = 0;
  std::atomic<uint64_t> freed = 0;
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        Srcu::ReadSection previous;
        while (!stop) {
          auto section = srcu.read_lock();
          EXPECT_NE(shared.load()->value, 0u);
          previous = std::move(section);  // overlapping: there is no quiet moment
        }
      });
    }
    for (int t = 0; t < 2; ++t) {
      threads.emplace_back([&] {
        for (uint64_t i = 1; i <= 20'000; ++i) {
          Node* const old = shared.exchange(new Node(i));
          ++retired;
          srcu.retire([&freed, old] {
            old->value = 0;
            delete old;
            ++freed;
          });
        }
      });
    }
    threads[5].join();
    threads[4].join();
    for (int i = 0; i < 100; ++i) {
      const uint64_t before = retired;
      ASSERT_TRUE(srcu.synchronize(deadline_after(kLong)));
      EXPECT_GE(freed, before);
    }
    stop = true;
  }
  EXPECT_EQ(freed, retired);
  delete shared.load();
}

TEST(SrcuStress, ManySynchronizeAtOnceAndTheLastOneFrees) {
  for (int round = 0; round < 2000; ++round) {
    auto srcu = std::make_unique<Srcu>();
    constexpr int kThreads = 4;
    std::latch start(kThreads + 1);
    std::latch waited(2);
    std::vector<std::jthread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t, raw = srcu.get(), section = srcu->read_lock()]() mutable {
        start.arrive_and_wait();
        section.close();  // the last that it does with it, if it doesn't wait itself
        if (t >= 2) return;
        EXPECT_TRUE(raw->synchronize(deadline_after(kLong)));
        waited.count_down();
      });
    }
    start.arrive_and_wait();
    ASSERT_TRUE(srcu->synchronize(deadline_after(kLong)));
    waited.wait();
    srcu.reset();
  }
}

// A device's life without the device: requests lend under a read section, the remover kills, waits
// for the sections, gives back what was lent and unmaps. Nothing may be left, ever.
TEST(LifecycleStress, LendersRunIntoKillWaitGiveBackAndUnmap) {
  PagemapRegistry registry;
  Srcu srcu;
  DevPagemap pagemap("m", MemoryType::kFsDax, {0, kSubsectionSize});
  LeaseTable table(pagemap.ref());
  std::atomic<bool> is_live = false;
  std::atomic<bool> stop = false;
  std::atomic<uint64_t> lent = 0;
  std::vector<std::jthread> threads;
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    threads.emplace_back([&, seed] {
      std::mt19937_64 random(seed);
      while (!stop) {
        const auto section = srcu.read_lock();
        if (!is_live) {
          std::this_thread::yield();
          continue;
        }
        const uint64_t ino = random() % 5;
        const uint64_t begin = random() % 1000;
        if (random() % 4 == 0) {
          table.give_back(ino, {begin, begin + 100});
        } else {
          lent += table.lend(ino, {begin, begin + 1 + random() % 20}) ? 1 : 0;
        }
      }
    });
  }
  for (int round = 0; round < 1000 || lent == 0; ++round) {
    ASSERT_TRUE(registry.memremap_pages(pagemap));
    is_live = true;
    if (round % 8 == 0) std::this_thread::yield();
    is_live = false;
    pagemap.ref().kill();
    ASSERT_TRUE(srcu.synchronize(deadline_after(kLong)));
    EXPECT_EQ(pagemap.references(), table.totals().ranges);
    table.give_back_all();
    ASSERT_TRUE(registry.memunmap_pages(pagemap, Clock::now())) << "nothing is left to wait for";
  }
  stop = true;
}

}  // namespace
}  // namespace pmemd
