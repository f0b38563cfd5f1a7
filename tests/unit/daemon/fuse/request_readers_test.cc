#include "daemon/fuse/request_readers.h"

#include <gtest/gtest.h>

#include <deque>
#include <future>
#include <latch>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "core/base/mutex.h"

namespace pmemd {
namespace {

class RequestReadersTest : public ::testing::Test {
 protected:
  // The calling thread, which reads, serves short requests until one reader is enough.
  void serve_short() {
    for (uint32_t i = 0; i < RequestReaders::kShortInARow; ++i) {
      readers_.end_read();
      readers_.begin_read();
    }
  }
  // A thread that wants to read. Returns when it is parked.
  std::future<void> park_one() {
    const uint32_t parked = readers_.parked();
    auto done = std::async(std::launch::async, [this] { readers_.begin_read(); });
    while (readers_.parked() == parked) std::this_thread::yield();
    return done;
  }
  static bool is_done(const std::future<void>& future) {
    return future.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  }

  RequestReaders readers_;
};

TEST_F(RequestReadersTest, AtFirstEveryThreadReads) {
  readers_.begin_read();
  std::async(std::launch::async, [&] { readers_.begin_read(); }).get();
  EXPECT_EQ(readers_.reading(), 2u);
}

TEST_F(RequestReadersTest, AfterManyShortRequestsOneReadsAndTheOthersAreParked) {
  readers_.begin_read();
  serve_short();
  const auto second = park_one(), third = park_one();
  EXPECT_EQ(readers_.reading(), 1u);
  EXPECT_EQ(readers_.parked(), 2u);
  // The reader itself isn't parked, however short its requests.
  serve_short();
  EXPECT_EQ(readers_.reading(), 1u);
  readers_.end();
}

TEST_F(RequestReadersTest, HandingOnWakesOneIfNobodyReads) {
  readers_.begin_read();
  serve_short();
  const auto second = park_one(), third = park_one();
  readers_.about_to_block();  // somebody reads: this thread
  EXPECT_EQ(readers_.parked(), 2u);
  readers_.end_read();
  readers_.about_to_block();
  EXPECT_EQ(readers_.reading(), 1u);
  EXPECT_EQ(readers_.parked(), 1u);
  readers_.about_to_block();  // somebody reads again
  EXPECT_EQ(readers_.parked(), 1u);
  while (!is_done(second) && !is_done(third)) std::this_thread::yield();
  readers_.end();
}

TEST_F(RequestReadersTest, AHookIsAHandOn) {
  readers_.begin_read();
  serve_short();
  const auto second = park_one();
  readers_.end_read();
  t_blocking_hook = &readers_;
  about_to_block();
  t_blocking_hook = nullptr;
  second.wait();
  EXPECT_EQ(readers_.reading(), 1u);
}

TEST_F(RequestReadersTest, ALockThatAnotherHoldsHandsOnAndAFreeOneDoesNot) {
  readers_.begin_read();
  serve_short();
  const auto second = park_one();
  readers_.end_read();
  Mutex mutex;
  t_blocking_hook = &readers_;
  {
    const MutexLock lock(mutex);
  }
  EXPECT_EQ(readers_.parked(), 1u);
  mutex.lock();
  auto waiting = std::async(std::launch::async, [&] {
    t_blocking_hook = &readers_;
    const MutexLock lock(mutex);
  });
  second.wait();  // before the lock is free
  mutex.unlock();
  waiting.wait();
  t_blocking_hook = nullptr;
}

TEST_F(RequestReadersTest, AfterAHandOnAllReadForAWhile) {
  readers_.begin_read();
  serve_short();
  const auto second = park_one();
  readers_.end_read();
  readers_.about_to_block();
  second.wait();
  readers_.begin_read();  // isn't parked
  EXPECT_EQ(readers_.reading(), 2u);
}

TEST_F(RequestReadersTest, TheEndWakesAllAndParksNobody) {
  readers_.begin_read();
  serve_short();
  const auto second = park_one(), third = park_one();
  readers_.end();
  second.wait();
  third.wait();
  std::async(std::launch::async, [&] { readers_.begin_read(); }).get();
  EXPECT_EQ(readers_.parked(), 0u);
}

// Requests, some of which wait until the next one is served: if the reading isn't handed on in
// time, nobody ever serves it.
TEST_F(RequestReadersTest, NoRequestIsLeftWhileOneWaits) {
  constexpr int kThreads = 4, kRequests = 20'000;
  struct Request {
    std::latch served{1};
    Request* waits_for = nullptr;
  };
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::minstd_rand random(seed);
  std::vector<std::unique_ptr<Request>> requests;
  for (int i = 0; i <= kRequests; ++i) requests.push_back(std::make_unique<Request>());
  // Never two in a row: that would be more waits than the client below is ahead.
  for (int i = 0; i < kRequests; ++i) {
    if (random() % 8 == 0 && (i < 1 || requests[i - 1]->waits_for == nullptr)) {
      requests[i]->waits_for = requests[i + 1].get();
    }
  }

  Mutex mutex;
  CondVar ready;
  std::deque<Request*> queue;  // as /dev/fuse: one is read by one
  bool closed = false;
  const auto read_one = [&]() -> Request* {
    const MutexLock lock(mutex);
    while (queue.empty() && !closed) ready.wait(mutex);
    if (queue.empty()) return nullptr;
    Request* const request = queue.front();
    queue.pop_front();
    return request;
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (;;) {
        readers_.begin_read();
        Request* const request = read_one();
        readers_.end_read();
        if (request == nullptr) break;
        if (request->waits_for != nullptr) {
          readers_.about_to_block();
          request->waits_for->served.wait();
        }
        request->served.count_down();
      }
      readers_.end();
    });
  }
  for (size_t i = 0; i < requests.size(); ++i) {
    {
      const MutexLock lock(mutex);
      queue.push_back(requests[i].get());
    }
    ready.notify_one();
    // A client waits for its answer; this one is ahead by two, so that the next comes in time.
    if (i >= 2) requests[i - 2]->served.wait();
  }
  requests.back()->served.wait();
  {
    const MutexLock lock(mutex);
    closed = true;
  }
  ready.notify_all();
  for (auto& thread : threads) thread.join();
}

TEST_F(RequestReadersTest, HandingOnToNobodyTells) {
  int told = 0;
  readers_.on_exhausted([&] { ++told; });
  readers_.begin_read();
  readers_.about_to_block();
  EXPECT_EQ(told, 0) << "the caller itself reads";
  readers_.end_read();
  readers_.about_to_block();
  EXPECT_EQ(told, 1);
  readers_.end();
  readers_.about_to_block();
  EXPECT_EQ(told, 1) << "at the end nobody has to read";
}

}  // namespace
}  // namespace pmemd
