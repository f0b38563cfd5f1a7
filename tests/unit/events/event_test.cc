#include "core/events/event.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <latch>
#include <string>
#include <thread>
#include <vector>

namespace pmemd {
namespace {

TEST(EventKind, HasAWordForEach) {
  EXPECT_EQ(to_string(EventKind::kPreRemove), "pre-remove");
  EXPECT_EQ(to_string(EventKind::kRemoved), "removed");
  EXPECT_EQ(to_string(EventKind::kEnabled), "enabled");
  EXPECT_EQ(to_string(EventKind::kCreated), "created");
  EXPECT_EQ(to_string(EventKind::kDestroyed), "destroyed");
  EXPECT_EQ(to_string(EventKind::kPoison), "poison");
  EXPECT_EQ(to_string(EventKind::kCleared), "cleared");
  EXPECT_EQ(to_string(EventKind::kScrub), "scrub");
  EXPECT_EQ(to_string(EventKind::kShutdown), "shutdown");
  for (const char* const text : {"pre-remove", "removed", "enabled", "created", "destroyed",
                                 "poison", "cleared", "scrub", "shutdown"}) {
    ASSERT_TRUE(parse_event_kind(text)) << text;
    EXPECT_EQ(to_string(*parse_event_kind(text)), text);
  }
  EXPECT_FALSE(parse_event_kind("gap"));
}

TEST(EventBus, WithoutASinkEventsAreCountedAndDropped) {
  EventBus bus;
  EXPECT_EQ(bus.published(), 0u);
  bus.publish(EventKind::kEnabled, "namespace0.0", {});
  EXPECT_EQ(bus.published(), 1u);
}

TEST(EventBus, DeliversAllThatAnEventSays) {
  EventBus bus;
  std::vector<Event> seen;
  bus.set_sink([&](const Event& event) { seen.push_back(event); });
  bus.publish(EventKind::kPreRemove, "namespace0.1", {0, 4096},
              EventFile{"/pmem0.1/a", {4096, 8192}});
  bus.publish(EventKind::kRemoved, "namespace0.1", {0, 8192});
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_EQ(seen[0].seq, 1u);
  EXPECT_NE(seen[0].time, std::chrono::system_clock::time_point());
  EXPECT_EQ(seen[0].kind, EventKind::kPreRemove);
  EXPECT_EQ(seen[0].name_of_namespace, "namespace0.1");
  EXPECT_EQ(seen[0].range, (DataRange{0, 4096}));
  ASSERT_TRUE(seen[0].file.has_value());
  EXPECT_EQ(seen[0].file->path, "/pmem0.1/a");
  EXPECT_EQ(seen[0].file->range, (FileRange{4096, 8192}));
  EXPECT_EQ(seen[1].seq, 2u);
  EXPECT_EQ(seen[1].kind, EventKind::kRemoved);
  EXPECT_FALSE(seen[1].file.has_value());
}

// What a sink publishes comes after the event that it is being told, never inside of it.
TEST(EventBus, SinkMayPublishAgain) {
  EventBus bus;
  std::vector<uint64_t> seen;
  int depth = 0;
  bus.set_sink([&](const Event& event) {
    EXPECT_EQ(++depth, 1);
    if (event.seq <= 3) {
      bus.publish(EventKind::kRemoved, "a", {});
      bus.publish(EventKind::kRemoved, "b", {});
    }
    EXPECT_EQ(bus.published(), 1 + 2 * std::min<uint64_t>(event.seq, 3));  // no lock is held
    seen.push_back(event.seq);
    --depth;
  });
  bus.publish(EventKind::kEnabled, "first", {});
  EXPECT_EQ(seen, (std::vector<uint64_t>{1, 2, 3, 4, 5, 6, 7}));
}

TEST(EventBus, ManyPublishersGetOneOrderWithoutGapsAndOneCallAtATime) {
  constexpr int kThreads = 8;
  constexpr int kEach = 500;
  EventBus bus;
  std::atomic<int> inside = 0;
  std::vector<Event> seen;  // no lock: one call at a time, each after the one before
  bus.set_sink([&](const Event& event) {
    EXPECT_EQ(inside.fetch_add(1), 0);
    seen.push_back(event);
    if (event.range.begin % 100 == 0 && event.kind == EventKind::kEnabled) {
      bus.publish(EventKind::kCreated, "again", event.range);
    }
    inside.fetch_sub(1);
  });
  std::latch start(kThreads);
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        start.arrive_and_wait();
        for (uint64_t i = 0; i < kEach; ++i) {
          bus.publish(EventKind::kEnabled, std::to_string(t), {i, i + 1});
        }
      });
    }
  }
  // Nobody publishes any more, so everything has been delivered.
  constexpr size_t kExpected = kThreads * kEach + kThreads * (kEach / 100);
  ASSERT_EQ(seen.size(), kExpected);
  EXPECT_EQ(bus.published(), kExpected);
  std::vector<uint64_t> next(kThreads, 0);
  for (size_t i = 0; i < seen.size(); ++i) {
    ASSERT_EQ(seen[i].seq, i + 1);
    if (seen[i].kind != EventKind::kEnabled) continue;
    auto& expected = next[std::stoul(seen[i].name_of_namespace)];
    ASSERT_EQ(seen[i].range.begin, expected++) << "of one publisher, in its order";
  }
}

// A slow sink holds up nobody who publishes meanwhile.
TEST(EventBus, PublishersDoNotWaitForTheSink) {
  EventBus bus;
  std::latch in_sink(1);
  std::latch go_on(1);
  std::vector<uint64_t> seen;
  bus.set_sink([&](const Event& event) {
    seen.push_back(event.seq);
    if (event.seq == 1) {
      in_sink.count_down();
      go_on.wait();
    }
  });
  std::jthread slow([&] { bus.publish(EventKind::kEnabled, "slow", {}); });
  in_sink.wait();
  bus.publish(EventKind::kEnabled, "meanwhile", {});
  EXPECT_EQ(bus.published(), 2u);
  go_on.count_down();
  slow.join();
  EXPECT_EQ(seen, (std::vector<uint64_t>{1, 2}));
}

}  // namespace
}  // namespace pmemd
