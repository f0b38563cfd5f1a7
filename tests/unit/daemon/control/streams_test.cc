// Streams of the control socket: events from a number on, filters, progress.
#include <atomic>
#include <functional>
#include <utility>
#include <vector>

#include "tests/unit/daemon/control/fixture.h"

namespace pmemd::test {
namespace {

// A log as EventLog is: what is published is in there before.
class FakeLog {
 public:
  Event append(uint64_t seq, std::string name_of_namespace = "namespace0.0") {
    MutexLock lock(mutex_);
    events_.push_back({.event = {.seq = seq, .name_of_namespace = std::move(name_of_namespace)}});
    return events_.back().event;
  }
  void append_gap(uint64_t last_seq, uint64_t missed) {
    MutexLock lock(mutex_);
    events_.push_back({.event = {.seq = last_seq}, .missed = missed});
  }
  Result<EventPage> read(uint64_t since, size_t max_events) {
    ++reads;
    if (error != 0) return fail(error, "pool.db: broken");
    EventPage page = page_of(since, max_events);
    if (auto between = std::exchange(after_read, nullptr)) between();
    return page;
  }

  std::function<void()> after_read;  // once: what happens before the page is delivered
  std::atomic<int> reads = 0;
  std::atomic<int> error = 0;

 private:
  EventPage page_of(uint64_t since, size_t max_events) {
    MutexLock lock(mutex_);
    EventPage page{.events = {}, .through = since, .is_last = true};
    for (const LoggedEvent& logged : events_) {
      if (logged.event.seq <= since) continue;
      page.is_last = page.events.size() < max_events;
      if (!page.is_last) break;
      page.events.push_back(logged);
      page.through = logged.event.seq;
    }
    return page;
  }

  Mutex mutex_;
  std::vector<LoggedEvent> events_ PMEMD_GUARDED_BY(mutex_);
};

class ControlStreams : public ControlServerTest {
 protected:
  ControlStreams() {
    options_.replay = [this](uint64_t since, size_t max) { return log_.read(since, max); };
  }
  void publish(uint64_t seq, const std::string& name = "namespace0.0") {
    server_->publish(log_.append(seq, name));
  }
  ControlClient subscribe(const Json& parameters) {
    ControlClient client = connect();
    const Reply reply = client.call({"org.pmemd.Monitor", parameters, /*more=*/true});
    EXPECT_EQ(reply.error, "");
    EXPECT_TRUE(reply.continues);
    return client;
  }
  static void expect_events(ControlClient& client, uint64_t first, uint64_t last) {
    for (uint64_t seq = first; seq <= last; ++seq) {
      const auto reply = client.receive();
      ASSERT_TRUE(reply) << "before " << seq;
      ASSERT_EQ(reply->error, "");
      ASSERT_TRUE(reply->parameters.contains("event")) << reply->parameters;
      ASSERT_EQ(reply->parameters["event"]["seq"], seq);
    }
  }

  FakeLog log_;
};

TEST_F(ControlStreams, ReplayWhatIsKeptAndGoOnLive) {
  start();
  for (uint64_t seq = 1; seq <= 1000; ++seq) publish(seq);
  ControlClient all = subscribe({{"since", 0}});
  ControlClient some = subscribe({{"since", 900}});
  expect_events(all, 1, 1000);
  expect_events(some, 901, 1000);
  publish(1001);
  expect_events(all, 1001, 1001);
  expect_events(some, 1001, 1001);
}

// Publishers don't stop while subscribers come, replay and go live.
TEST_F(ControlStreams, HaveNoHoleAndNoDoubleBetweenReplayAndLive) {
  constexpr uint64_t kEvents = 4000;
  options_.limits.queued_events = kEvents;  // who is slow loses none here
  start();
  std::atomic<uint64_t> published = 0;
  std::jthread publisher([&] {
    for (uint64_t seq = 1; seq <= kEvents; ++seq) {
      publish(seq);
      published = seq;
      if (seq % 8 == 0) std::this_thread::yield();
    }
  });
  std::vector<std::jthread> subscribers;
  for (uint64_t i = 0; i < 8; ++i) {
    subscribers.emplace_back([&, i] {
      while (published < i * kEvents / 10) std::this_thread::yield();
      const uint64_t since = i * kEvents / 20;
      ControlClient client = subscribe({{"since", since}});
      expect_events(client, since + 1, kEvents);
    });
  }
}

// A last page is read; before it is delivered, more is handed out to those that are live.
TEST_F(ControlStreams, WhatPassesBetweenAPageAndItsDeliveryIsReadAfterIt) {
  start();
  ControlClient live = subscribe(Json::object());
  publish(1);
  expect_events(live, 1, 1);
  log_.after_read = [&] {
    publish(2);
    publish(3);
    expect_events(live, 2, 3);
  };
  ControlClient client = subscribe({{"since", 0}});
  expect_events(client, 1, 3);
  publish(4);
  expect_events(client, 4, 4);
}

// Replays leave room for one another: more of them than there are places in the queue of calls.
TEST_F(ControlStreams, ManyMayReplayAtOnce) {
  options_.limits.queued_calls = 4;
  options_.limits.workers = 2;
  start();
  for (uint64_t seq = 1; seq <= 600; ++seq) publish(seq);
  std::vector<ControlClient> clients;
  for (int i = 0; i < 50; ++i) clients.push_back(subscribe({{"since", 0}}));
  for (ControlClient& client : clients) expect_events(client, 1, 600);
}

TEST_F(ControlStreams, OfWhoDoesNotReadAreNotReadFromTheLog) {
  start();
  for (uint64_t seq = 1; seq <= 50'000; ++seq) log_.append(seq);
  ControlClient client = subscribe({{"since", 0}});
  ControlClient other = subscribe({{"since", 49'999}});
  expect_events(other, 50'000, 50'000);
  for (int i = 0; i < 500; ++i) in_loop([] {});  // it has all the time to read on
  EXPECT_LT(log_.reads, 50);                     // of 196
  expect_events(client, 1, 50'000);
}

TEST_F(ControlStreams, EndWithoutFollowAndTheConnectionGoesOn) {
  start();
  for (uint64_t seq = 1; seq <= 300; ++seq) publish(seq);
  ControlClient client = subscribe({{"follow", false}});
  expect_events(client, 1, 300);
  const auto end = client.receive();
  ASSERT_TRUE(end);
  EXPECT_FALSE(end->continues);
  EXPECT_EQ(end->parameters, Json::object());
  EXPECT_EQ(server_->stats().subscribers, 0);
  EXPECT_EQ(client.call({"org.pmemd.List"}).error, "");
}

TEST_F(ControlStreams, TellWhatIsNotKept) {
  start();
  log_.append_gap(70, 70);
  publish(71);
  ControlClient client = subscribe({{"since", 0}});
  EXPECT_EQ(client.receive()->parameters, (Json{{"missed", 70}}));
  expect_events(client, 71, 71);
}

// Events that found no room on their way to the loop are in the log all the same.
TEST_F(ControlStreams, ReplayAlsoWhatTheLoopNeverGot) {
  options_.limits.published_events = 10;
  start();
  ControlClient live = subscribe(Json::object());  // or nothing would be queued at all
  ControlClient client = subscribe({{"since", 0}});
  in_loop([&] {
    for (uint64_t seq = 1; seq <= 100; ++seq) publish(seq);
  });
  // It was live, or it was not: what it has not got, it is told.
  uint64_t last = 0;
  while (last < 100) {
    const auto reply = client.receive();
    ASSERT_TRUE(reply);
    if (reply->parameters.contains("missed")) {
      last += reply->parameters["missed"].get<uint64_t>();
    } else {
      ASSERT_EQ(reply->parameters["event"]["seq"], ++last);
    }
  }
  ControlClient late = subscribe({{"since", 0}});
  expect_events(late, 1, 100);
}

TEST_F(ControlStreams, AreFilteredHere) {
  start();
  publish(1, "namespace0.0");
  publish(2, "namespace0.1");
  ControlClient client = subscribe({{"since", 0}, {"namespaces", "namespace0.1"}});
  expect_events(client, 2, 2);
  publish(3, "namespace0.0");
  publish(4, "namespace0.1");
  expect_events(client, 4, 4);
}

TEST_F(ControlStreams, ThatMeanNothingAreRefusedAndTheConnectionGoesOn) {
  start();
  ControlClient client = connect();
  const Reply reply = client.call({"org.pmemd.Monitor", {{"kinds", "earthquake"}}, true});
  EXPECT_EQ(reply.error, "org.pmemd.Failed");
  EXPECT_EQ(reply.parameters["errno"], EINVAL);
  EXPECT_EQ(client.call({"org.pmemd.Monitor", {{"since", -1}}, true}).error,
            "org.varlink.service.InvalidParameter");
  EXPECT_EQ(client.call({"org.pmemd.List"}).error, "");
  EXPECT_EQ(server_->stats().subscribers, 0);
}

TEST_F(ControlStreams, WithoutALogReplayNothing) {
  options_.replay = nullptr;
  start();
  const Reply reply = connect().call({"org.pmemd.Monitor", {{"since", 0}}, true});
  EXPECT_EQ(reply.parameters["errno"], EOPNOTSUPP);
}

TEST_F(ControlStreams, WhoseLogCanNotBeReadEndWithItsError) {
  log_.error = EIO;
  start();
  ControlClient client = subscribe({{"since", 0}});
  const auto reply = client.receive();
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->error, "org.pmemd.Failed");
  EXPECT_EQ(reply->parameters["errno"], EIO);
  EXPECT_EQ(client.call({"org.pmemd.List"}).error, "");
}

TEST_F(ControlStreams, ThatReplayMayHangUp) {
  start();
  for (uint64_t seq = 1; seq <= 5000; ++seq) log_.append(seq);
  for (int i = 0; i < 20; ++i) subscribe({{"since", 0}});
  EXPECT_TRUE(wait_for([](const auto& stats) { return stats.connections == 0; }));
  EXPECT_EQ(server_->stats().subscribers, 0);
}

}  // namespace
}  // namespace pmemd::test
