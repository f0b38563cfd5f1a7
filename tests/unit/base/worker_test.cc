#include "core/base/worker.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <functional>
#include <memory>
#include <semaphore>
#include <string>
#include <thread>
#include <utility>

#include "tests/unit/let_others_fall_asleep.h"

namespace pmemd {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;

constexpr uid_t kAlice = 70'001, kBob = 70'002;

// Work that notes what it was, behind one piece that holds the worker up.
class WorkerTest : public testing::Test {
 protected:
  // Returns when the worker is in it, so that nothing else begins before go().
  void hold_up() {
    worker_->submit([this] {
      entered_.release();
      go_.acquire();
    });
    entered_.acquire();
  }
  void go() { go_.release(); }
  // The worker does what is queued, and ends.
  std::string done() {
    worker_.reset();
    return done_;
  }
  Worker::Work note(std::string what) {
    return [this, what = std::move(what)] { done_ += what; };
  }
  UserBudget::Charge charge(uid_t user) { return *budget_.charge(user); }
  Worker::Key key(uint64_t id) const { return {.owner = this, .id = id}; }

  UserBudget budget_{{.per_user = 3, .users = 5, .total = 8}};
  std::binary_semaphore entered_{0}, go_{0};
  std::string done_;  // by the worker's thread
  std::unique_ptr<Worker> worker_ = std::make_unique<Worker>("a-worker");
};

TEST_F(WorkerTest, UsersTakeTurns) {
  hold_up();
  for (const char* what : {"a", "b", "c"}) worker_->submit(kAlice, charge(kAlice), note(what));
  worker_->submit(kBob, charge(kBob), note("B"));
  worker_->submit(note("R"));
  go();
  EXPECT_EQ(done(), "aBRbc") << "and what is queued is done, also at the end";
}

TEST_F(WorkerTest, WorkIsChargedUntilItIsDone) {
  hold_up();
  for (int i = 0; i < 3; ++i) worker_->submit(kAlice, charge(kAlice), note("a"));
  worker_->submit(kBob, charge(kBob), note("b"));
  EXPECT_EQ(budget_.charged_to(kAlice), 3u);
  EXPECT_FALSE(budget_.charge(kAlice));
  go();
  EXPECT_EQ(done(), "abaa");
  EXPECT_EQ(budget_.charged(), 0u);
}

TEST_F(WorkerTest, WorkOfAKeyIsQueuedOnce) {
  hold_up();
  for (int i = 0; i < 100; ++i) worker_->submit_once(key(7), note("7"));
  worker_->submit_once(key(8), note("8"));
  // Begun, it doesn't stand for what comes then.
  worker_->submit([this, worker = worker_.get()] { worker->submit_once(key(7), note("!")); });
  go();
  EXPECT_EQ(done(), "78!");
}

TEST_F(WorkerTest, WorkWaitsForItsTimeInTheOrderOfTimes) {
  std::binary_semaphore last{0};
  const Deadline now = Clock::now();
  worker_->submit_once(key(2), [&] { done_ += "2", last.release(); }, now + milliseconds(30));
  worker_->submit_once(key(3), note("3"), now + hours(1));
  worker_->submit_once(key(1), note("1"), now + milliseconds(20));
  last.acquire();
  EXPECT_GE(Clock::now(), now + milliseconds(30));
  EXPECT_EQ(done(), "12") << "what waits for its time is dropped at the end";
}

TEST_F(WorkerTest, TheEarlierOfTwoTimesCounts) {
  std::binary_semaphore done{0};
  const auto is_done = [&] { return done.try_acquire_for(std::chrono::seconds(20)); };
  worker_->submit_once(key(1), [&] { done.release(); }, Clock::now() + hours(1));
  worker_->submit_once(key(1), [&] { done.release(); });
  EXPECT_TRUE(is_done());
  worker_->submit_once(key(1), [&] { done.release(); }, Clock::now() + milliseconds(1));
  worker_->submit_once(key(1), [&] { done.release(); }, Clock::now() + hours(1));
  EXPECT_TRUE(is_done());
  worker_.reset();
  EXPECT_FALSE(done.try_acquire());
}

TEST_F(WorkerTest, WhatIsCancelledIsDroppedAndTheOthersArent) {
  const int other = 0;
  const auto dropped = std::make_shared<int>();
  hold_up();
  worker_->submit_once(key(1), [this, dropped] { done_ += "1"; });
  worker_->submit_once({.owner = &other, .id = 1}, note("other"));
  worker_->submit_once(key(2), [this, dropped] { done_ += "2"; }, Clock::now() + milliseconds(1));
  worker_->cancel(this);
  EXPECT_EQ(dropped.use_count(), 1) << "nothing holds what the work held";
  worker_->submit_once(key(1), note("!"));
  go();
  EXPECT_EQ(done(), "other!");
}

TEST_F(WorkerTest, ACancelWaitsForWhatRuns) {
  std::atomic<bool> has_ended = false;
  worker_->submit_once(key(1), [&] {
    entered_.release();
    go_.acquire();
    has_ended = true;
  });
  entered_.acquire();
  std::thread cancels([&] {
    worker_->cancel(this);
    EXPECT_TRUE(has_ended);
  });
  go();
  cancels.join();
}

TEST_F(WorkerTest, WhatSubmitsItselfAgainIsCancelledToo) {
  std::function<void()> again = [&] {
    entered_.release();
    go_.acquire();
    for (const Deadline when : {Deadline(), Clock::now() + milliseconds(1)}) {
      worker_->submit_once(key(when == Deadline()), [&] { done_ += "!"; }, when);
    }
  };
  worker_->submit_once(key(1), [&] { again(); });
  entered_.acquire();
  std::thread cancels([&] { worker_->cancel(this); });
  let_others_fall_asleep();  // the cancel
  go();
  cancels.join();
  // Long enough for what was delayed.
  std::binary_semaphore later{0};
  worker_->submit_once({.owner = &later}, [&] { later.release(); }, Clock::now() + milliseconds(5));
  later.acquire();
  EXPECT_EQ(done(), "");
}

TEST_F(WorkerTest, ACallReturnsWhatTheWorkReturns) {
  const auto seven = [] -> Result<int> { return 7; };
  EXPECT_EQ(worker_->call(seven, hours(1)), 7);
  const auto bad = [] -> Result<void> { return fail(EIO, "bad"); };
  EXPECT_EQ(worker_->call(bad, hours(1)).err(), EIO);
}

TEST_F(WorkerTest, ACallThatTakesTooLongIsETIMEDOUTAndGoesOn) {
  hold_up();
  const auto late = [this] -> Result<void> {
    done_ += "late";
    return {};
  };
  EXPECT_EQ(worker_->call(late, milliseconds(1)).err(), ETIMEDOUT);
  go();
  EXPECT_EQ(done(), "late");
}

TEST_F(WorkerTest, ItsThreadHasItsName) {
  std::array<char, 16> name{};
  pid_t tid = 0;
  const auto look = [&] -> Result<void> {
    tid = gettid();
    pthread_getname_np(pthread_self(), name.data(), name.size());
    return {};
  };
  EXPECT_TRUE(worker_->call(look, hours(1)));
  EXPECT_STREQ(name.data(), "a-worker");
  EXPECT_TRUE(worker_->is_own_thread(tid));
  EXPECT_FALSE(worker_->is_own_thread(gettid()));
}

}  // namespace
}  // namespace pmemd
