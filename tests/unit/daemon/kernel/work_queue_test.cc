#include "daemon/kernel/work_queue.h"

#include <gtest/gtest.h>

#include <functional>
#include <semaphore>
#include <string>
#include <utility>

namespace pmemd {
namespace {

constexpr uid_t kAlice = 70'001, kBob = 70'002;

// Work that notes who it was for, behind one that holds the queue up.
class WorkQueueTest : public testing::Test {
 protected:
  // Returns when the thread is in it, so that nothing else begins before go().
  void hold_up(WorkQueue& queue) {
    ASSERT_TRUE(queue.submit(0, [this] {
      entered_.release();
      go_.acquire();
    }));
    entered_.acquire();
  }
  void go() { go_.release(); }
  std::function<void()> note(std::string who) {
    return [this, who = std::move(who)] { done_ += who; };
  }

  UserBudget budget_{{.per_user = 3, .users = 5, .total = 8}};
  std::binary_semaphore entered_{0}, go_{0};
  std::string done_;  // by the queue's thread; read when it has ended
};

TEST_F(WorkQueueTest, UsersTakeTurns) {
  {
    WorkQueue queue(budget_);
    hold_up(queue);
    for (const char* what : {"a", "b", "c"}) EXPECT_TRUE(queue.submit(kAlice, note(what)));
    EXPECT_TRUE(queue.submit(kBob, note("B")));
    EXPECT_TRUE(queue.submit(0, note("R")));
    go();
  }
  EXPECT_EQ(done_, "aBRbc") << "and what is queued is done, also at the end";
}

TEST_F(WorkQueueTest, AUserWithTooMuchQueuedGetsEAGAINAndOthersDont) {
  {
    WorkQueue queue(budget_);
    hold_up(queue);
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(queue.submit(kAlice, note("a")));
    EXPECT_EQ(queue.submit(kAlice, note("x")).err(), EAGAIN);
    EXPECT_TRUE(queue.submit(kBob, note("b")));
    EXPECT_TRUE(queue.submit(0, note("r")));
    EXPECT_EQ(budget_.charged_to(kAlice), 3u);
    go();
  }
  EXPECT_EQ(done_, "abraa");
  EXPECT_EQ(budget_.charged(), 0u) << "work that is done costs nothing";
}

TEST_F(WorkQueueTest, WorkOfAKeyIsQueuedOnce) {
  {
    WorkQueue queue(budget_);
    hold_up(queue);
    for (int i = 0; i < 100; ++i) queue.submit_once(7, note("7"));
    queue.submit_once(8, note("8"));
    // Begun, it doesn't stand for what comes then.
    ASSERT_TRUE(queue.submit(0, [&] { queue.submit_once(7, note("!")); }));
    go();
  }
  EXPECT_EQ(done_, "78!");
}

}  // namespace
}  // namespace pmemd
