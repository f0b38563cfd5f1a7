// Events that last: numbers over restarts and kills, gaps that are told, reading while others
// write.
#include "core/events/event_log.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <random>
#include <thread>

#include "core/base/fault.h"
#include "core/pool/pool.h"
#include "tests/unit/temporary_directory.h"

namespace pmemd {
namespace {

constexpr auto kSoon = std::chrono::seconds(20);

class EventLogTest : public ::testing::Test {
 protected:
  EventLogTest() { pool_ = Pool::create(path_, 16 * kMiB, Reservation::kSparse).value(); }
  void TearDown() override { FaultPoint::disarm_all(); }

  void open_log(const EventLog::Options& options = {}) {
    log_ = EventLog::open(pool_->database(), options).value();
    bus_ = std::make_unique<EventBus>();
    bus_->number_from(log_->next_seq());
    bus_->set_sink([this](const Event& event) { log_->append(event); });
  }
  void close_log() {
    log_.reset();
    bus_.reset();
  }
  uint64_t publish(uint64_t begin = 0) {
    return bus_->publish(EventKind::kPoison, "namespace0.0", {begin, begin + 1});
  }
  void flush() { ASSERT_TRUE(log_->flush(deadline_after(kSoon))); }
  // All pages from `since` on; a gap is a negative number of events.
  std::vector<int64_t> read_all(uint64_t since, size_t page_size = 1000) {
    std::vector<int64_t> seen;
    while (true) {
      const auto page = log_->read(since, page_size);
      if (!page) {
        ADD_FAILURE() << page.error().describe();
        return seen;
      }
      for (const LoggedEvent& logged : page->events) {
        seen.push_back(logged.missed != 0 ? -static_cast<int64_t>(logged.missed)
                                          : static_cast<int64_t>(logged.event.seq));
      }
      since = page->through;
      if (page->is_last) return seen;
    }
  }

  const TemporaryDirectory dir_{TemporaryDirectory::Place::kInMemory};
  const std::string path_ = dir_.path() + "/pool";
  std::unique_ptr<Pool> pool_;
  std::unique_ptr<EventLog> log_;
  std::unique_ptr<EventBus> bus_;
};

std::vector<int64_t> from_to(int64_t first, int64_t last) {
  std::vector<int64_t> numbers;
  for (int64_t i = first; i <= last; ++i) numbers.push_back(i);
  return numbers;
}

TEST_F(EventLogTest, GivesBackAllThatAnEventSays) {
  open_log();
  bus_->publish(EventKind::kScrub, "namespace0.1", {512, 4096},
                EventFile{std::string("/pmem0/\xff odd"), {0, 100}});
  bus_->publish(EventKind::kShutdown, "volume0", {0, 0});
  for (const bool written : {false, true}) {
    if (written) flush();
    const auto page = log_->read(0, 10);
    ASSERT_TRUE(page);
    EXPECT_TRUE(page->is_last);
    EXPECT_EQ(page->through, 2);
    ASSERT_EQ(page->events.size(), 2);
    const Event& event = page->events[0].event;
    EXPECT_EQ(event.seq, 1);
    EXPECT_EQ(event.kind, EventKind::kScrub);
    EXPECT_EQ(event.name_of_namespace, "namespace0.1");
    EXPECT_EQ(event.range, (DataRange{512, 4096}));
    EXPECT_LT(std::chrono::system_clock::now() - event.time, kSoon);
    ASSERT_TRUE(event.file);
    EXPECT_EQ(event.file->path, "/pmem0/\xff odd");
    EXPECT_EQ(event.file->range, (FileRange{0, 100}));
    EXPECT_FALSE(page->events[1].event.file);
    EXPECT_EQ(page->events[1].event.kind, EventKind::kShutdown);
  }
}

TEST_F(EventLogTest, PagesAreWithoutHoleOrDouble) {
  open_log();
  for (int i = 0; i < 100; ++i) publish();
  for (const size_t page_size : {1, 7, 50, 99, 100, 101}) {
    EXPECT_EQ(read_all(0, page_size), from_to(1, 100)) << page_size;
    EXPECT_EQ(read_all(60, page_size), from_to(61, 100)) << page_size;
  }
  flush();
  EXPECT_EQ(read_all(0, 7), from_to(1, 100));
  EXPECT_EQ(read_all(100), std::vector<int64_t>());
  EXPECT_EQ(read_all(UINT64_MAX), std::vector<int64_t>());
}

TEST_F(EventLogTest, NumbersGoOnAfterAnOrderlyEnd) {
  open_log();
  EXPECT_EQ(publish(), 1);
  EXPECT_EQ(publish(), 2);
  close_log();
  pool_.reset();
  pool_ = Pool::open(path_, Pool::Mode::kReadWrite).value();
  open_log();
  EXPECT_EQ(publish(), 3);
  EXPECT_EQ(read_all(0), from_to(1, 3));
}

// In a child, since a log that is alive would go on writing.
TEST_F(EventLogTest, AfterASigkillNoNumberIsUsedTwice) {
  pool_.reset();
  uint64_t last = 0;
  for (int round = 0; round < 3; ++round) {
    int pipe_fds[2];
    ASSERT_EQ(::pipe(pipe_fds), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      pool_ = Pool::open(path_, Pool::Mode::kReadWrite).value();
      open_log({.reserve = 16});
      uint64_t seq = 0;
      for (int i = 0; i < 50; ++i) seq = publish();  // over several reservations
      (void)!::write(pipe_fds[1], &seq, sizeof(seq));
      ::kill(::getpid(), SIGKILL);
    }
    uint64_t seq = 0;
    ASSERT_EQ(::read(pipe_fds[0], &seq, sizeof(seq)), ssize_t{sizeof(seq)});
    ::close(pipe_fds[0]);
    ::close(pipe_fds[1]);
    ::waitpid(child, nullptr, 0);
    EXPECT_GE(seq, last + 50);
    pool_ = Pool::open(path_, Pool::Mode::kReadWrite).value();
    open_log({.reserve = 16});
    EXPECT_GT(log_->next_seq(), seq);
    EXPECT_LE(log_->next_seq(), seq + 2 * 16 + 50);
    last = publish();
    close_log();
    pool_.reset();
  }
}

TEST_F(EventLogTest, KeepsTheLastAndTellsHowManyWent) {
  const EventLog::Options options = {.keep = 100, .trim = 10};
  open_log(options);
  for (int i = 0; i < 305; ++i) {
    publish();
    if (i % 8 == 0) flush();
  }
  flush();
  const auto seen = read_all(0);
  ASSERT_GE(seen.size(), 101);
  EXPECT_LE(seen.size(), 112);
  EXPECT_EQ(seen.front(), -(305 - static_cast<int64_t>(seen.size() - 1)));
  EXPECT_EQ(std::vector(seen.begin() + 1, seen.end()), from_to(-seen.front() + 1, 305));
  // Whoever has seen some of those knows how many of them he has not.
  EXPECT_EQ(read_all(static_cast<uint64_t>(-seen.front()) - 5).front(), -5);
  EXPECT_EQ(read_all(static_cast<uint64_t>(-seen.front())).front(), -seen.front() + 1);
  // The count of rows survives.
  close_log();
  open_log(options);
  for (int i = 0; i < 50; ++i) publish();
  flush();
  EXPECT_LE(read_all(0).size(), 112);
}

TEST_F(EventLogTest, WhatCanNotBeWrittenIsToldAsMissedInItsPlace) {
  open_log();
  publish();
  flush();
  ASSERT_TRUE(FaultPoint::arm("events.write", {.count = 1'000'000}));
  for (int i = 0; i < 3; ++i) publish();
  flush();  // dropped
  FaultPoint::disarm_all();
  publish();
  flush();
  auto seen = read_all(0);
  EXPECT_EQ(seen, (std::vector<int64_t>{1, -3, 5}));
  EXPECT_EQ(read_all(2), (std::vector<int64_t>{-2, 5}));
  close_log();
  open_log();
  EXPECT_EQ(read_all(0), seen);
}

// The writer stands still, as with a slow disk: publishers go on, the log has a gap.
TEST_F(EventLogTest, AFullQueueIsAGapAndNobodyWaits) {
  open_log({.max_queued = 10});
  ASSERT_TRUE(FaultPoint::arm("events.write", {.count = 1, .delay = std::chrono::minutes(5)}));
  for (int i = 0; i < 1000; ++i) publish();
  const auto stalled = read_all(0);
  int64_t total = 0;
  for (const int64_t seen : stalled) total += seen < 0 ? -seen : 1;
  EXPECT_EQ(total, 1000);
  EXPECT_LE(stalled.size(), 22);  // what is being written, and the queue; a gap behind each
  EXPECT_LT(stalled.back(), 0);
  FaultPoint::disarm_all();
  flush();
  EXPECT_EQ(read_all(0), stalled);
  publish();
  flush();
  const auto seen = read_all(0);
  EXPECT_EQ(seen.back(), 1001);
  EXPECT_EQ(seen.size(), stalled.size() + 1);
}

// Numbers that aren't reserved are waited for; for ever they are not.
TEST_F(EventLogTest, WithoutReservedNumbersTheWaitIsBounded) {
  open_log({.reserve = 4, .wait_for_numbers = std::chrono::milliseconds(1)});
  ASSERT_TRUE(FaultPoint::arm("events.write", {.count = 1, .delay = std::chrono::minutes(5)}));
  for (int i = 0; i < 20; ++i) publish();
  EXPECT_EQ(publish(), 21);
  FaultPoint::disarm_all();
  flush();
  EXPECT_EQ(read_all(0), from_to(1, 21));
}

TEST_F(EventLogTest, ReadersSeeEveryEventOnceWhileItIsWritten) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(seed);
  constexpr int kEvents = 3000;
  open_log({.trim = 1, .reserve = 64});
  std::atomic<bool> done = false;
  std::vector<std::jthread> readers;
  for (unsigned r = 0; r < 3; ++r) {
    readers.emplace_back([&, r] {
      std::mt19937 random(seed + r);
      uint64_t since = 0, expected = 1;
      while (true) {
        const bool last_round = done;
        const auto page = log_->read(since, 1 + random() % 64);
        ASSERT_TRUE(page) << page.error().describe();
        for (const LoggedEvent& logged : page->events) {
          ASSERT_EQ(logged.missed, 0);
          ASSERT_EQ(logged.event.seq, expected++);
        }
        ASSERT_GE(page->through, since);
        since = page->through;
        if (last_round && page->is_last) break;
      }
      EXPECT_EQ(expected, kEvents + 1);
    });
  }
  for (int i = 0; i < kEvents; ++i) publish(static_cast<uint64_t>(i));
  done = true;
}

TEST_F(EventLogTest, ADatabaseWithoutItsCounterIsEio) {
  {
    MutexLock lock(pool_->database().mutex());
    ASSERT_TRUE(pool_->database().execute("DELETE FROM meta"));
  }
  EXPECT_EQ(EventLog::open(pool_->database()).err(), EIO);
}

}  // namespace
}  // namespace pmemd
