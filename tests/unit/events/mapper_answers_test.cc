// Questions to mappers: takeovers, and who lets go before a removal.
#include <gtest/gtest.h>

#include <thread>

#include "tests/unit/events/mapper_fixture.h"
#include "tests/unit/let_others_fall_asleep.h"

namespace pmemd {
namespace {

using Answer = MapperEvents::Answer;
using Ranges = std::vector<FileRange>;
using std::chrono::milliseconds;

class MapperAnswersTest : public MapperFixture {
 protected:
  // Runs `act` when the question of this handle can be read.
  template <class Act>
  std::jthread when_asked(uint64_t handle, Act act) {
    return std::jthread([this, handle, act] {
      const Deadline deadline = deadline_after(kLong);
      std::optional<MapperEvent> event;
      while (!event && Clock::now() < deadline) {
        event = events_.read(handle);
        if (!event) std::this_thread::yield();
      }
      if (!event) {
        ADD_FAILURE() << "never asked";
        return;
      }
      let_others_fall_asleep();
      act(*event);
    });
  }
  Result<void> answer(uint64_t handle, const MapperEvent& event, Answer answer) {
    return events_.answer(handle, event.notice.seq, event.id, answer);
  }
  void expect_nothing_is_left() { EXPECT_EQ(events_.counts().questions, 0u); }
};

// --- takeovers

TEST_F(MapperAnswersTest, NobodyToAskIsAnsweredAtOnce) {
  const uint64_t file = open_file();
  map(file, {0, 4096});
  take_over(file, {4096, 8192});
  take_over(open_file(99), {0, 4096});
  EXPECT_EQ(ask({0, 4096}), Ranges());
  EXPECT_FALSE(events_.read(file));
}

TEST_F(MapperAnswersTest, TakeoverIsAskedForItsPartAndHandlesIt) {
  const uint64_t file = open_file();
  const uint64_t id = take_over(file, {4096, 16384});
  const auto owner = when_asked(file, [&](const MapperEvent& event) {
    EXPECT_EQ(event.notice.kind, MapperEventKind::kTakeover);
    EXPECT_EQ(event.notice.seq, 42u);
    EXPECT_EQ(event.notice.time, kThen);
    EXPECT_EQ(event.notice.answer_within, milliseconds(kLong));
    EXPECT_EQ(event.id, id);
    EXPECT_EQ(event.range, (FileRange{12288, 16384}));
    EXPECT_EQ(event.address, 0u);
    EXPECT_EQ(events_.answer(file, 41, id, Answer::kDone).err(), ENOENT) << "of another failure";
    EXPECT_EQ(events_.answer(file, 42, id + 1, Answer::kDone).err(), ENOENT);
    EXPECT_EQ(events_.answer(file + 1, 42, id, Answer::kDone).err(), ENOENT) << "not his";
    EXPECT_TRUE(answer(file, event, Answer::kDone));
    EXPECT_EQ(answer(file, event, Answer::kDone).err(), ENOENT) << "once";
  });
  EXPECT_EQ(ask({12288, 1 << 20}, 42), (Ranges{{12288, 16384}}));
  expect_nothing_is_left();
}

TEST_F(MapperAnswersTest, RefusedIsNotHandled) {
  const uint64_t file = open_file();
  take_over(file, {0, 4096});
  const auto owner = when_asked(
      file, [&](const MapperEvent& event) { EXPECT_TRUE(answer(file, event, Answer::kRefused)); });
  EXPECT_EQ(ask({0, 4096}), Ranges());
  expect_nothing_is_left();
}

TEST_F(MapperAnswersTest, TooLateIsNotHandledAndTheAnswerIsRefused) {
  const uint64_t file = open_file();
  const uint64_t id = take_over(file, {0, 4096}, milliseconds(1));
  EXPECT_EQ(ask({0, 4096}, 5), Ranges());
  EXPECT_TRUE(events_.read(file)) << "it was asked";
  EXPECT_EQ(events_.answer(file, 5, id, Answer::kDone).err(), ENOENT);
  expect_nothing_is_left();
}

// While somebody else has more time, the one with less gets no more of it.
TEST_F(MapperAnswersTest, EachHasItsOwnTimeoutAndAllRunAtOnce) {
  const uint64_t slow = open_file();
  const uint64_t fast = open_file();
  take_over(slow, {0, 4096});
  take_over(fast, {4096, 8192}, milliseconds(1));
  const auto owner = when_asked(slow, [&](const MapperEvent& event) {
    const auto question = events_.read(fast);
    ASSERT_TRUE(question);
    const Deadline enough = deadline_after(milliseconds(2));
    while (Clock::now() < enough) std::this_thread::yield();
    EXPECT_EQ(answer(fast, *question, Answer::kDone).err(), ENOENT);
    EXPECT_TRUE(answer(slow, event, Answer::kDone));
  });
  EXPECT_EQ(ask({0, 8192}), (Ranges{{0, 4096}}));
  expect_nothing_is_left();
}

TEST_F(MapperAnswersTest, OwnerThatClosesEndsOrEndsItsTakeoverMeanwhileHasHandledNothing) {
  for (int way = 0; way < 3; ++way) {
    SCOPED_TRACE(way);
    const uint64_t file = open_file();
    const uint64_t id = take_over(file, {0, 4096}, milliseconds(kLong), 77);
    const auto owner = when_asked(file, [&](const MapperEvent&) {
      if (way == 0) close_file(file);
      if (way == 1) end_process(77);
      if (way == 2) end_claim(file, ReferenceKind::kTakeover, id);
      expect_nothing_is_left();  // at once, not when its time is up
    });
    EXPECT_EQ(ask({0, 4096}), Ranges());
    expect_nothing_is_left();
    close_file(file);
  }
}

TEST_F(MapperAnswersTest, WhoAnsweredAndThenEndedHasHandledIt) {
  const uint64_t file = open_file();
  const uint64_t other = open_file();
  take_over(file, {0, 4096});
  take_over(other, {4096, 8192});
  const auto owner = when_asked(file, [&](const MapperEvent& event) {
    EXPECT_TRUE(answer(file, event, Answer::kDone));
    close_file(file);
    EXPECT_TRUE(answer(other, *events_.read(other), Answer::kRefused));
  });
  EXPECT_EQ(ask({0, 8192}), (Ranges{{0, 4096}}));
}

// Of one descriptor; two can't take over the same byte.
TEST_F(MapperAnswersTest, TwoTakeoversOfOneRangeAreBothAskedAndOneIsEnough) {
  const uint64_t file = open_file();
  take_over(file, {0, 8192});
  const uint64_t second = take_over(file, {4096, 12288});
  const auto owner = when_asked(file, [&](const MapperEvent& event) {
    EXPECT_TRUE(answer(file, event, Answer::kDone));
    EXPECT_TRUE(events_.answer(file, 1, second, Answer::kRefused));
  });
  EXPECT_EQ(ask({0, 12288}), (Ranges{{0, 8192}}));
  EXPECT_EQ(claims_.add_takeover(open_file(), 1, {8191, 8192}, milliseconds(1)).err(), EEXIST);
}

TEST_F(MapperAnswersTest, TwoFailuresMayWaitAtOnce) {
  const uint64_t file = open_file();
  const uint64_t id = take_over(file, {0, 8192});
  Ranges first;
  std::jthread asker([&] { first = ask({0, 4096}, 1); });
  const auto owner = when_asked(file, [&, id](const MapperEvent&) {
    const auto other = when_asked(file, [&, id](const MapperEvent&) {
      EXPECT_TRUE(events_.answer(file, 2, id, Answer::kDone));
      EXPECT_TRUE(events_.answer(file, 1, id, Answer::kRefused));
    });
  });
  EXPECT_EQ(ask({4096, 8192}, 2), (Ranges{{4096, 8192}}));
  asker.join();
  EXPECT_EQ(first, Ranges());
}

TEST_F(MapperAnswersTest, ManyRangesAreAskedBeforeAnyIsWaitedFor) {
  const uint64_t file = open_file();
  const uint64_t id = take_over(file, {0, 1 << 20});
  const auto first = events_.ask(kIno, {0, 4096}, 1, kThen);
  const auto second = events_.ask(kIno, {8192, 12288}, 1, kThen);
  const auto third = events_.ask(kIno + 1, {0, 4096}, 1, kThen);
  const auto told = read_all(file);
  ASSERT_EQ(told.size(), 2u);
  EXPECT_EQ(told[1].range, (FileRange{8192, 12288}));
  // One failure, one takeover: the answers are to its questions in their order.
  EXPECT_TRUE(events_.answer(file, 1, id, Answer::kRefused));
  EXPECT_TRUE(events_.answer(file, 1, id, Answer::kDone));
  EXPECT_EQ(events_.answer(file, 1, id, Answer::kDone).err(), ENOENT);
  EXPECT_EQ(events_.collect(first), Ranges());
  EXPECT_EQ(events_.collect(second), (Ranges{{8192, 12288}}));
  EXPECT_EQ(events_.collect(third), Ranges());
  expect_nothing_is_left();
}

TEST_F(MapperAnswersTest, InterruptEndsTheWaitAndNobodyIsAskedAfterIt) {
  const uint64_t file = open_file();
  take_over(file, {0, 4096});
  const auto interrupter = when_asked(file, [&](const MapperEvent&) {
    events_.interrupt();
    const Deadline deadline = deadline_after(kLong / 2);  // before its time is up
    while (events_.counts().questions != 0 && Clock::now() < deadline) std::this_thread::yield();
    expect_nothing_is_left();
  });
  EXPECT_EQ(ask({0, 4096}), Ranges());
  EXPECT_EQ(ask({0, 4096}), Ranges());
  EXPECT_FALSE(events_.read(file));
  expect_nothing_is_left();
}

// --- grace

TEST_F(MapperAnswersTest, GraceEndsWhenAllHaveAnsweredOrClosed) {
  const uint64_t file = open_file();
  const uint64_t other = open_file(99);
  const uint64_t unaware = open_file();
  const uint64_t a = map(file, {0, 4096});
  const uint64_t b = map(file, {0, 4096});
  map(other, {0, 4096});
  EXPECT_EQ(events_.tell_all(question(5)), 3u);
  EXPECT_EQ(events_.read(file)->notice.answer_within, milliseconds(kLong));
  EXPECT_EQ(events_.answer(file, 5, a, Answer::kRefused).err(), EINVAL);
  EXPECT_TRUE(events_.answer(file, 5, a, Answer::kDone)) << "before anyone waits";
  const std::jthread holders([&] {
    let_others_fall_asleep();
    EXPECT_TRUE(events_.answer(file, 5, b, Answer::kDone));
    close_file(other);
    let_others_fall_asleep();
    close_file(unaware);
  });
  EXPECT_TRUE(events_.wait_answers(5, deadline_after(kLong)));
  EXPECT_EQ(claims_.handles(), (std::vector<uint64_t>{file})) << "which goes on being open";
  EXPECT_EQ(events_.answer(file, 5, b, Answer::kDone).err(), ENOENT);
  expect_nothing_is_left();
}

TEST_F(MapperAnswersTest, GraceIsHeldUpByEachThatIsLeft) {
  const uint64_t unaware = open_file();
  EXPECT_FALSE(events_.wait_answers(1, Clock::now())) << "it can only close";
  close_file(unaware);
  EXPECT_TRUE(events_.wait_answers(1, Clock::now()));

  const uint64_t file = open_file();
  const uint64_t a = map(file, {0, 4096});
  const uint64_t b = map(file, {0, 4096});
  events_.tell_all(question(2));
  EXPECT_TRUE(events_.answer(file, 2, a, Answer::kDone));
  EXPECT_FALSE(events_.wait_answers(2, Clock::now())) << "one of its two has not let go";
  EXPECT_EQ(events_.answer(file, 2, b, Answer::kDone).err(), ENOENT) << "too late";
  expect_nothing_is_left();
}

TEST_F(MapperAnswersTest, UnmappedAndEndedCountAsLetGo) {
  const uint64_t file = open_file();
  const uint64_t a = map(file, {0, 4096});
  map(file, {0, 4096}, 0, 55);
  events_.tell(kIno, {0, 1}, question(1));
  end_claim(file, ReferenceKind::kMapping, a);
  const std::jthread process([&] {
    let_others_fall_asleep();
    end_process(55);
  });
  EXPECT_TRUE(events_.wait_answers(1, deadline_after(kLong)));
  expect_nothing_is_left();
}

TEST_F(MapperAnswersTest, InterruptEndsGrace) {
  open_file();
  const std::jthread interrupter([&] {
    let_others_fall_asleep();
    events_.interrupt();
  });
  EXPECT_FALSE(events_.wait_answers(1, deadline_after(kLong)));
}

// Answers, closes and the end of the wait race; whatever comes first, nothing is left behind.
TEST_F(MapperAnswersTest, AnswersRaceWithClosesAndTheDeadline) {
  for (uint64_t seq = 1; seq <= 300; ++seq) {
    const uint64_t file = open_file();
    const uint64_t other = open_file();
    const uint64_t id = map(file, {0, 4096});
    map(other, {0, 4096});
    take_over(other, {0, 4096});
    events_.tell_all(question(seq));
    std::jthread answerer([&] { (void)events_.answer(file, seq, id, Answer::kDone); });
    std::jthread closer([&] { close_file(other); });
    std::jthread asker([&] { EXPECT_EQ(ask({0, 4096}, seq), Ranges()); });
    const milliseconds patience = seq % 3 == 0 ? milliseconds(0) : milliseconds(kLong);
    EXPECT_TRUE(events_.wait_answers(seq, deadline_after(patience)) || seq % 3 == 0);
    asker.join();
    answerer.join();
    closer.join();
    close_file(file);
    expect_nothing_is_left();
    EXPECT_EQ(events_.counts().queues, 0u);
  }
}

}  // namespace
}  // namespace pmemd
