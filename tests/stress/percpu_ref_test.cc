// PercpuRef under threads that never pause, more of them than CPUs. For TSan above all; every
// interleaving of few steps is tests/unit/percpu/percpu_count_test.cc.
#include "core/percpu/percpu_ref.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <barrier>
#include <cstdlib>
#include <memory>
#include <random>
#include <thread>
#include <vector>

namespace pmemd {
namespace {

constexpr size_t kThreads = 8;
constexpr std::chrono::seconds kLong{120};

// Written under references by its thread, read by who comes to zero: no atomic, so that TSan tells
// if the one doesn't happen before the other.
struct alignas(64) Uses {
  uint64_t count = 0;
};

// Each thread keeps one reference while it takes and puts others; when it sees the kill, it puts
// its own, the last thing that it does with the object. Who waited for that frees it at once.
class FreedAtOnce {
 public:
  void run(int lives) {
    std::vector<std::jthread> threads;
    for (size_t t = 0; t < kThreads; ++t) {
      threads.emplace_back([this, t, lives] {
        for (int life = 0; life < lives; ++life) use(t);
      });
    }
    for (int life = 0; life < lives; ++life) live(life);
  }
  uint64_t rounds() const { return rounds_; }

 private:
  void live(int life) {
    uint64_t used = 0;
    std::atomic<int> released = 0;
    auto ref = std::make_unique<PercpuRef>([&] {
      ++released;
      for (const Uses& uses : uses_) used += uses.count;
    });
    ref->reinit();
    ref_ = ref.get();
    phase_.arrive_and_wait();
    phase_.arrive_and_wait();  // each has its own reference
    ref->kill();
    ++kills_;
    int earlier = 0;
    if (life % 4 == 0) {
      ++kills_;
      ref->resurrect();
      earlier = released;  // 1 if all had put theirs before: then this is another life
      used = 0;
      ref->kill();
      ++kills_;
    }
    const Deadline deadline = deadline_after(kLong);
    if (!ref->wait(deadline) || Clock::now() >= deadline) {
      ADD_FAILURE() << "a put or a wake-up was lost";
      std::abort();
    }
    EXPECT_EQ(released, earlier + 1);
    EXPECT_EQ(ref->count(), 0u);
    ref.reset();
    phase_.arrive_and_wait();
    uint64_t all = 0;
    for (const Uses& uses : uses_) all += uses.count;
    EXPECT_EQ(used, all);
    rounds_ += all;
    uses_.fill({});
    ++kills_;
  }

  void use(size_t t) {
    phase_.arrive_and_wait();
    PercpuRef& ref = *ref_;
    auto own = ref.tryget_live();
    EXPECT_TRUE(own);
    phase_.arrive_and_wait();
    for (;;) {
      const uint64_t before = kills_;
      auto got = ref.tryget_live();
      if (!got) break;
      EXPECT_FALSE(before % 2 == 1 && kills_ == before) << "a live reference after the kill";
      ++uses_[t].count;
    }
    EXPECT_TRUE(ref.tryget()) << "beside our own";
    own.reset();
    phase_.arrive_and_wait();
  }

  std::barrier<> phase_{kThreads + 1};
  PercpuRef* ref_ = nullptr;         // changes between two phases
  std::atomic<uint64_t> kills_ = 0;  // odd: killed
  std::array<Uses, kThreads> uses_;
  uint64_t rounds_ = 0;
};

TEST(PercpuRefStress, KillUnderEightThreadsAndFreeAtOnce) {
  FreedAtOnce test;
  test.run(1000);
  RecordProperty("rounds", std::to_string(test.rounds()));
  EXPECT_GT(test.rounds(), 1'000'000u);
}

// Waits until the others have got on, so that each life is used.
void let_go_on(const std::atomic<uint64_t>& progress) {
  const uint64_t until = progress + 20;
  while (progress < until) std::this_thread::yield();
}

// References that are taken by one thread and put by another, some at a time; kills come and go.
TEST(PercpuRefStress, HandedOverAcrossThreadsAndLives) {
  PercpuRef ref;
  ref.reinit();
  std::atomic<bool> stop = false;
  std::atomic<uint64_t> progress = 0;
  std::array<std::atomic<uint64_t>, kThreads> inbox{};
  {
    std::vector<std::jthread> threads;
    for (size_t t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        std::mt19937_64 random(t + 1);
        while (!stop) {
          const uint64_t n = 1 + random() % 5;
          uint64_t have = ref.tryget_live_many(n) ? n : 0;
          if (have > 0 && random() % 4 == 0) {
            EXPECT_TRUE(ref.tryget_many(2)) << "beside ours";
            ref.get_many(1);
            have += 3;
          }
          const uint64_t gone = have / 2;
          inbox[random() % kThreads] += gone;
          ref.put_many(have - gone);
          ref.put_many(inbox[t].exchange(0));
          ++progress;
        }
      });
    }
    for (int life = 0; life < 1000; ++life) {
      if (life % 2 == 0) let_go_on(progress);
      ref.kill();
      if (life % 4 == 0) let_go_on(progress);
      ref.resurrect();
    }
    stop = true;
  }
  uint64_t left = 0;
  for (const auto& box : inbox) left += box;
  EXPECT_EQ(ref.count(), left);
  ref.kill();
  EXPECT_EQ(ref.count(), left);
  ref.put_many(left);
  EXPECT_TRUE(ref.is_drained());
}

// Rows are taken and given back while kill() adds them up.
TEST(PercpuRefStress, ThreadsComeAndGoDuringTheKill) {
  PercpuRef ref;
  std::atomic<bool> stop = false;
  std::atomic<uint64_t> progress = 0;
  std::vector<std::jthread> spawners;
  for (size_t t = 0; t < 2; ++t) {
    spawners.emplace_back([&] {
      while (!stop) {
        std::array<std::jthread, 4> users;
        for (auto& user : users) {
          user = std::jthread([&] {
            for (int i = 0; i < 20; ++i) {
              const auto got = ref.tryget_live();
              const auto beside = ref.tryget();
              EXPECT_TRUE(!got || beside);
            }
            ++progress;
          });
        }
      }
    });
  }
  for (int life = 0; life < 2000; ++life) {
    ref.reinit();
    if (life % 4 == 0) let_go_on(progress);
    ref.kill();
    if (!ref.wait(deadline_after(kLong))) {
      ADD_FAILURE() << ref.count() << " left";
      std::abort();
    }
  }
  stop = true;
}

}  // namespace
}  // namespace pmemd
