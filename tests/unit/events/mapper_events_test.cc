// What mappers are told, and how they hear of it.
#include "core/events/mapper_events.h"

#include <algorithm>
#include <atomic>
#include <deque>
#include <map>
#include <random>
#include <thread>

#include "tests/unit/events/mapper_fixture.h"

namespace pmemd {
namespace {

using Kind = MapperEventKind;

class MapperEventsTest : public MapperFixture {};

TEST_F(MapperEventsTest, EventIsClippedAndInTheMappingsOwnCoordinates) {
  const uint64_t file = open_file();
  const uint64_t id = map(file, {8192, 32768}, 0x700000);
  EXPECT_EQ(events_.tell(kIno, {0, 12288}, notice(Kind::kPoison, 5)), 1u);
  EXPECT_EQ(events_.tell(kIno, {16384, 20480}, notice(Kind::kCleared, 6)), 1u);
  EXPECT_EQ(events_.tell(kIno, {28672, 1 << 20}, notice(Kind::kPoison, 7)), 1u);
  const auto all = read_all(file);
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[0].range, (FileRange{8192, 12288}));
  EXPECT_EQ(all[0].address, 0x700000u);
  EXPECT_EQ(all[0].id, id);
  EXPECT_EQ(all[0].notice.kind, Kind::kPoison);
  EXPECT_EQ(all[0].notice.seq, 5u);
  EXPECT_EQ(all[0].notice.time, kThen);
  EXPECT_EQ(all[0].notice.answer_within.count(), 0);
  EXPECT_EQ(all[0].missed, 0u);
  EXPECT_EQ(all[1].range, (FileRange{16384, 20480}));
  EXPECT_EQ(all[1].address, 0x702000u);
  EXPECT_EQ(all[2].range, (FileRange{28672, 32768}));
  EXPECT_EQ(all[2].address, 0x705000u);
}

TEST_F(MapperEventsTest, OnlyWhatOverlapsIsTold) {
  const uint64_t file = open_file();
  map(file, {4096, 8192});
  EXPECT_EQ(events_.tell(kIno, {0, 4096}, notice(Kind::kPoison)), 0u);
  EXPECT_EQ(events_.tell(kIno, {8192, 12288}, notice(Kind::kPoison)), 0u);
  EXPECT_EQ(events_.tell(kIno + 1, {0, 12288}, notice(Kind::kPoison)), 0u);
  EXPECT_EQ(events_.tell(kIno, {5000, 5000}, notice(Kind::kPoison)), 0u);
  EXPECT_FALSE(events_.read(file));
  EXPECT_EQ(events_.tell(kIno, {8191, 8192}, notice(Kind::kPoison)), 1u);
}

TEST_F(MapperEventsTest, EachMappingGetsOneEventAlsoOfOneDescriptor) {
  const uint64_t file = open_file();
  const uint64_t other = open_file();
  const uint64_t a = map(file, {0, 8192}, 0x1000);
  const uint64_t b = map(file, {4096, 12288}, 0x9000);
  const uint64_t c = map(other, {0, 4096});
  take_over(other, {0, 8192});
  EXPECT_EQ(events_.tell(kIno, {0, 1 << 30}, notice(Kind::kPoison)), 3u);
  const auto all = read_all(file);
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].id, a);
  EXPECT_EQ(all[1].id, b);
  const auto others = read_all(other);
  ASSERT_EQ(others.size(), 1u) << "a takeover is asked, not told";
  EXPECT_EQ(others[0].id, c);
}

TEST_F(MapperEventsTest, WholeDeviceIsOneEventAMappingOfAnyFile) {
  const uint64_t file = open_file();
  const uint64_t other = open_file(99);
  map(file, {4096, uint64_t{1} << 40}, 0x5000);
  map(other, {0, 1});
  EXPECT_EQ(events_.tell_all(notice(Kind::kPreRemove, 3)), 2u);
  const auto event = events_.read(file);
  ASSERT_TRUE(event);
  EXPECT_EQ(event->range, (FileRange{4096, uint64_t{1} << 40}));
  EXPECT_EQ(event->address, 0x5000u);
  EXPECT_FALSE(events_.read(file));
  EXPECT_TRUE(events_.read(other));
}

// Between the enable and the word of it others may have come: to them nothing was taken away.
TEST_F(MapperEventsTest, OnlyWhoWasToldThatItGoesIsToldThatItIsBack) {
  const uint64_t file = open_file();
  const uint64_t before = map(file, {0, 4096});
  events_.tell_all(notice(Kind::kPreRemove, 1));
  events_.tell_all(notice(Kind::kRemoved, 2));
  map(file, {0, 4096});
  EXPECT_EQ(events_.tell_all(notice(Kind::kEnabled, 3)), 1u);
  const auto all = read_all(file);
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[2].id, before);
  EXPECT_EQ(all[2].notice.kind, Kind::kEnabled);
  EXPECT_EQ(events_.tell_all(notice(Kind::kEnabled, 4)), 0u) << "once";
  events_.tell_all(notice(Kind::kCleared, 5));
  EXPECT_EQ(events_.tell_all(notice(Kind::kEnabled, 6)), 0u) << "nothing was taken away";
}

TEST_F(MapperEventsTest, OfTooManyTheOldestGoAndTheNextReadTellsHowMany) {
  const uint64_t file = open_file();
  const uint64_t reader = open_file();
  map(file, {0, 4096});
  map(reader, {0, 4096});
  constexpr uint64_t kMax = MapperEvents::kMaxEvents;
  for (uint64_t seq = 1; seq <= kMax + 5; ++seq) {
    events_.tell(kIno, {0, 1}, notice(Kind::kPoison, seq));
    ASSERT_EQ(events_.read(reader)->notice.seq, seq) << "who reads misses nothing";
  }
  EXPECT_EQ(events_.counts().events, kMax);
  const auto first = events_.read(file);
  EXPECT_EQ(first->missed, 5u);
  EXPECT_EQ(first->notice.seq, 6u);
  const auto second = events_.read(file);
  EXPECT_EQ(second->missed, 0u) << "told once";
  EXPECT_EQ(second->notice.seq, 7u);
  EXPECT_EQ(read_all(file).back().notice.seq, kMax + 5);
}

TEST_F(MapperEventsTest, WhatCouldNotBeHandedOverIsTheOldestAgain) {
  const uint64_t file = open_file();
  map(file, {0, 4096});
  for (uint64_t seq = 1; seq <= MapperEvents::kMaxEvents + 2; ++seq) {
    events_.tell(kIno, {0, 1}, notice(Kind::kPoison, seq));
  }
  const auto event = events_.read(file);
  ASSERT_EQ(event->notice.seq, 3u);
  events_.put_back(file, *event);
  EXPECT_EQ(events_.read(file)->notice.seq, 3u);
  events_.put_back(file, *event);
  const auto again = events_.read(file);
  EXPECT_EQ(again->missed, 2u);
  events_.tell(kIno, {0, 1}, notice(Kind::kPoison, 100));
  events_.put_back(file, *again);
  EXPECT_EQ(events_.counts().events, MapperEvents::kMaxEvents);
  EXPECT_EQ(events_.read(file)->missed, 3u) << "there was no room for it";
  close_file(file);
  events_.put_back(file, *again);
  EXPECT_EQ(events_.counts().queues, 0u);
}

TEST_F(MapperEventsTest, WhatIsGoneIsNeverRead) {
  const uint64_t file = open_file();
  const uint64_t a = map(file, {0, 4096}, 0, 10);
  const uint64_t b = map(file, {0, 4096}, 0, 11);
  const uint64_t c = map(file, {0, 4096}, 0, 12);
  events_.tell_all(notice(Kind::kRemoved));
  end_claim(file, ReferenceKind::kMapping, a);
  end_process(11);
  const auto all = read_all(file);
  ASSERT_EQ(all.size(), 1u) << b;
  EXPECT_EQ(all[0].id, c);
  EXPECT_EQ(events_.tell_all(notice(Kind::kEnabled)), 1u);
  close_file(file);
  EXPECT_FALSE(events_.read(file));
  EXPECT_EQ(events_.counts().queues, 0u);
  EXPECT_EQ(events_.tell_all(notice(Kind::kRemoved)), 0u);
}

// --- poll

TEST_F(MapperEventsTest, PollTellsWhetherThereIsOneAndWakesOnce) {
  const uint64_t file = open_file();
  map(file, {0, 4096});
  int woken = 0;
  EXPECT_FALSE(events_.poll(file, [&] { ++woken; }));
  events_.tell(kIno, {8192, 8193}, notice(Kind::kPoison));
  EXPECT_EQ(woken, 0) << "not its range";
  events_.tell(kIno, {0, 1}, notice(Kind::kPoison));
  EXPECT_EQ(woken, 1);
  events_.tell(kIno, {0, 1}, notice(Kind::kPoison));
  EXPECT_EQ(woken, 1) << "it has to poll again";
  EXPECT_TRUE(events_.poll(file, [&] { ++woken; }));
  EXPECT_EQ(read_all(file).size(), 2u);
  EXPECT_FALSE(events_.poll(file, {}));
  events_.tell(kIno, {0, 1}, notice(Kind::kPoison));
  EXPECT_EQ(woken, 2) << "edge-triggered, nobody polls between the read and the next event";
}

TEST_F(MapperEventsTest, PollBeforeAnythingIsRegisteredIsWokenToo) {
  const uint64_t file = open_file();
  int woken = 0;
  EXPECT_FALSE(events_.poll(file, [&] { ++woken; }));
  map(file, {0, 4096});
  events_.tell(kIno, {0, 1}, notice(Kind::kPoison));
  EXPECT_EQ(woken, 1);
}

TEST_F(MapperEventsTest, OneWakeupAHandleAndNoneOfAHandleThatIsGone) {
  const uint64_t file = open_file();
  map(file, {0, 4096});
  const auto alive = std::make_shared<int>(0);
  std::vector<int> woken;
  EXPECT_FALSE(events_.poll(file, [&woken, alive] { woken.push_back(1); }));
  EXPECT_FALSE(events_.poll(file, [&woken] { woken.push_back(2); }));
  EXPECT_EQ(alive.use_count(), 1) << "replaced, and gone";
  EXPECT_FALSE(events_.poll(file, {})) << "who only asks takes nobody's wakeup";
  events_.tell(kIno, {0, 1}, notice(Kind::kPoison));
  EXPECT_EQ(woken, (std::vector<int>{2}));
  read_all(file);
  EXPECT_FALSE(events_.poll(file, [alive] {}));
  close_file(file);
  EXPECT_EQ(alive.use_count(), 1);
  EXPECT_FALSE(events_.poll(file, [alive] {}));
  EXPECT_EQ(alive.use_count(), 1) << "nobody would ever forget it";
  EXPECT_EQ(events_.counts().queues, 0u);
}

TEST_F(MapperEventsTest, WakeupsRunWithoutALock) {
  const uint64_t file = open_file();
  map(file, {0, 4096});
  std::optional<MapperEvent> seen;
  EXPECT_FALSE(events_.poll(file, [&] { seen = events_.read(file); }));
  events_.tell(kIno, {0, 1}, notice(Kind::kPoison, 9));
  ASSERT_TRUE(seen);
  EXPECT_EQ(seen->notice.seq, 9u);
}

// Each event finds either a wakeup or a poll() that tells of it: nobody sleeps beside an event.
TEST_F(MapperEventsTest, NoEventIsSleptThrough) {
  constexpr uint64_t kEvents = 5000;
  const uint64_t file = open_file();
  map(file, {0, 4096});
  Mutex mutex;
  CondVar woken_cv;
  uint64_t wakeups = 0;
  std::jthread teller([&] {
    for (uint64_t seq = 1; seq <= kEvents; ++seq) {
      events_.tell(kIno, {0, 1}, notice(Kind::kPoison, seq));
    }
  });
  uint64_t seen = 0;
  while (seen < kEvents) {
    uint64_t before = 0;
    {
      MutexLock lock(mutex);
      before = wakeups;
    }
    const bool has = events_.poll(file, [&] {
      MutexLock lock(mutex);
      ++wakeups;
      woken_cv.notify_all();
    });
    if (!has) {
      MutexLock lock(mutex);
      const Deadline deadline = deadline_after(kLong);
      while (wakeups == before) ASSERT_TRUE(woken_cv.wait_until(mutex, deadline)) << seen;
    }
    while (const auto event = events_.read(file)) {
      seen += 1 + event->missed;
      EXPECT_EQ(event->notice.seq, seen) << "in order, each read or counted as missed";
    }
  }
}

// --- against a plain list

struct PlainMapping {
  uint64_t handle, id, ino, address;
  pid_t pid;
  FileRange range;
};

class MapperModelTest : public MapperFixture {
 protected:
  struct PlainEvent {
    uint64_t seq, id, address;
    FileRange range;
  };
  struct PlainQueue {
    std::deque<PlainEvent> events;
    uint64_t missed = 0;
  };

  FileRange some_range() {
    const uint64_t begin = random_() % 40;
    return {begin, begin + 1 + random_() % 20};
  }
  template <class T>
  const T& any_of(const std::vector<T>& all) {
    return all[random_() % all.size()];
  }

  void open_one() {
    const uint64_t ino = random_() % 3;
    handles_.emplace_back(open_file(ino), ino);
  }
  void map_one() {
    if (handles_.empty()) return;
    const auto [handle, ino] = any_of(handles_);
    PlainMapping mapping{.handle = handle,
                         .id = 0,
                         .ino = ino,
                         .address = random_() % 1000 * 4096,
                         .pid = static_cast<pid_t>(1 + random_() % 5),
                         .range = some_range()};
    mapping.id = map(handle, mapping.range, mapping.address, mapping.pid);
    mappings_.push_back(mapping);
  }
  template <class Gone>
  void forget(Gone is_gone) {
    for (const PlainMapping& mapping : mappings_) {
      if (!is_gone(mapping)) continue;
      std::erase_if(queues_[mapping.handle].events,
                    [&](const PlainEvent& event) { return event.id == mapping.id; });
    }
    std::erase_if(mappings_, is_gone);
  }
  void unmap_one() {
    if (mappings_.empty()) return;
    const PlainMapping gone = any_of(mappings_);
    end_claim(gone.handle, ReferenceKind::kMapping, gone.id);
    forget([&](const PlainMapping& mapping) { return mapping.id == gone.id; });
  }
  void end_some() {
    const auto pid = static_cast<pid_t>(1 + random_() % 5);
    end_process(pid);
    forget([&](const PlainMapping& mapping) { return mapping.pid == pid; });
  }
  void close_one() {
    if (handles_.empty()) return;
    const uint64_t handle = any_of(handles_).first;
    close_file(handle);
    forget([&](const PlainMapping& mapping) { return mapping.handle == handle; });
    queues_.erase(handle);
    std::erase_if(handles_, [&](const auto& other) { return other.first == handle; });
  }
  void tell_some() {
    const uint64_t ino = random_() % 3;
    const FileRange range = some_range();
    uint64_t expected = 0;
    const uint64_t told = events_.tell(ino, range, notice(Kind::kPoison, ++seq_));
    for (const PlainMapping& mapping : mappings_) {
      if (mapping.ino != ino || !mapping.range.overlaps(range)) continue;
      ++expected;
      PlainQueue& queue = queues_[mapping.handle];
      const uint64_t begin = std::max(mapping.range.begin, range.begin);
      queue.events.push_back({seq_,
                              mapping.id,
                              mapping.address + begin - mapping.range.begin,
                              {begin, std::min(mapping.range.end, range.end)}});
      if (queue.events.size() > MapperEvents::kMaxEvents) {
        queue.events.pop_front();
        ++queue.missed;
      }
    }
    EXPECT_EQ(told, expected);
  }
  void read_one() {
    if (handles_.empty()) return;
    const uint64_t handle = any_of(handles_).first;
    PlainQueue& queue = queues_[handle];
    const auto event = events_.read(handle);
    ASSERT_EQ(event.has_value(), !queue.events.empty());
    if (!event) return;
    const PlainEvent expected = queue.events.front();
    queue.events.pop_front();
    EXPECT_EQ(event->notice.seq, expected.seq);
    EXPECT_EQ(event->id, expected.id);
    EXPECT_EQ(event->range, expected.range);
    EXPECT_EQ(event->address, expected.address);
    EXPECT_EQ(event->missed, std::exchange(queue.missed, 0));
  }

  std::mt19937_64 random_;
  std::vector<std::pair<uint64_t, uint64_t>> handles_;  // and their inodes
  std::vector<PlainMapping> mappings_;
  std::map<uint64_t, PlainQueue> queues_;
  uint64_t seq_ = 0;
};

TEST_F(MapperModelTest, RandomMappersAreToldAsAPlainListTells) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    random_.seed(seed);
    for (int i = 0; i < 3000 && !HasFailure(); ++i) {
      const uint64_t what = random_() % 200;
      if (what < 20)
        open_one();
      else if (what < 60)
        map_one();
      else if (what < 70)
        unmap_one();
      else if (what < 72)
        end_some();
      else if (what < 80)
        close_one();
      else if (what < 150)
        tell_some();
      else
        read_one();
    }
    while (!handles_.empty()) close_one();
    EXPECT_EQ(events_.counts().queues, 0u);
    queues_.clear();
  }
}

}  // namespace
}  // namespace pmemd
