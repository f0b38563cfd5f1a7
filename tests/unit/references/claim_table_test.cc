#include "core/references/claim_table.h"

#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <random>
#include <thread>
#include <vector>

#include "tests/unit/let_others_fall_asleep.h"

namespace pmemd {
namespace {

constexpr std::chrono::seconds kLong{20};

class ClaimTableTest : public testing::Test {
 protected:
  ClaimTableTest() {
    ref_.reinit();
    table_.open();
  }
  ~ClaimTableTest() override {
    table_.remove_pins();
    if (!ref_.is_dying()) ref_.kill();
    EXPECT_TRUE(ref_.wait(Clock::now())) << "a pin's reference was lost";
  }
  uint64_t open_file(uint64_t ino = 7, pid_t pid = 1) {
    return table_.add_handle(ino, pid, false).value();
  }
  Result<uint64_t> pin(uint64_t handle, FileRange range, pid_t pid = 1) {
    return table_.add_pin(handle, pid, range, ref_.tryget_live());
  }

  PercpuRef ref_;
  ClaimTable table_;
};

TEST_F(ClaimTableTest, PinHoldsAReferenceUntilItIsTakenOut) {
  const uint64_t file = open_file();
  const auto id = pin(file, {0, 4096});
  ASSERT_TRUE(id);
  EXPECT_EQ(ref_.count(), 1u);
  EXPECT_EQ(table_.remove(file, ReferenceKind::kMapping, *id).err(), ENOENT) << "it is a pin";
  EXPECT_EQ(table_.remove(file + 1000, ReferenceKind::kPin, *id).err(), ENOENT);
  EXPECT_EQ(ref_.count(), 1u);
  EXPECT_TRUE(table_.remove(file, ReferenceKind::kPin, *id));
  EXPECT_EQ(ref_.count(), 0u);
  EXPECT_EQ(table_.remove(file, ReferenceKind::kPin, *id).err(), ENOENT) << "once";
  EXPECT_EQ(ref_.count(), 0u);
}

TEST_F(ClaimTableTest, AnotherFilesDescriptorCannotTakeItOut) {
  const uint64_t mine = open_file();
  const uint64_t others = open_file();
  const auto id = pin(mine, {0, 1});
  EXPECT_EQ(table_.remove(others, ReferenceKind::kPin, *id).err(), ENOENT);
  EXPECT_EQ(table_.counts().pins, 1u);
}

TEST_F(ClaimTableTest, HandleTakesItsClaimsAlongAndNoOthers) {
  const uint64_t a = open_file();
  const uint64_t b = open_file();
  ASSERT_TRUE(pin(a, {0, 1}));
  ASSERT_TRUE(pin(a, {5, 6}));
  ASSERT_TRUE(table_.add_mapping(a, 1, {0, 1}, 0x1000));
  ASSERT_TRUE(pin(b, {0, 1}));
  table_.remove_handle(a);
  EXPECT_EQ(table_.counts().pins, 1u);
  EXPECT_EQ(table_.counts().mappings, 0u);
  EXPECT_EQ(table_.counts().handles, 1u);
  EXPECT_EQ(ref_.count(), 1u);
  table_.remove_handle(a);
  EXPECT_EQ(table_.counts().handles, 1u) << "unknown ids are ignored";
}

// The descriptor lives on in a child; the pin was its parent's.
TEST_F(ClaimTableTest, ProcessTakesItsClaimsAlongAndLeavesTheHandle) {
  const uint64_t file = open_file();
  ASSERT_TRUE(pin(file, {0, 1}, 10));
  ASSERT_TRUE(table_.add_mapping(file, 10, {0, 1}, 0));
  ASSERT_TRUE(pin(file, {0, 1}, 11));
  EXPECT_EQ(table_.remove_process(10).size(), 2u);
  EXPECT_EQ(table_.counts().pins, 1u);
  EXPECT_EQ(table_.counts().handles, 1u);
  EXPECT_TRUE(table_.remove_process(10).empty());
  EXPECT_EQ(ref_.count(), 1u);
}

TEST_F(ClaimTableTest, EachErrno) {
  EXPECT_EQ(pin(12345, {0, 1}).err(), EBADF);
  const uint64_t file = open_file();
  EXPECT_EQ(pin(file, {1, 1}).err(), EINVAL);
  EXPECT_EQ(table_.add_mapping(file, 1, {2, 1}, 0).err(), EINVAL);
  EXPECT_EQ(table_.add_pin(file, 1, {0, 1}, PercpuRef::Ref()).err(), ENODEV);
  ASSERT_TRUE(table_.close(false));
  EXPECT_EQ(pin(file, {0, 1}).err(), ENODEV);
  EXPECT_EQ(table_.add_mapping(file, 1, {0, 1}, 0).err(), ENODEV);
  EXPECT_FALSE(table_.add_handle(7, 1, false).has_value());
  EXPECT_EQ(ref_.count(), 0u) << "no error path may keep the reference that it was given";
}

// What a claim costs is given back when it goes, whichever way; and when it never came.
TEST_F(ClaimTableTest, AChargeGoesWithItsClaimOrHandle) {
  UserBudget budget({.per_user = 100, .users = 100, .total = 100});
  const auto charge = [&] { return budget.charge(4711).value(); };
  {
    ClaimTable table;
    EXPECT_FALSE(table.add_handle(7, 1, true, charge())) << "closed";
    EXPECT_EQ(budget.charged(), 0u);
    table.open();
    const uint64_t file = table.add_handle(7, 1, true, charge()).value();
    const uint64_t other = table.add_handle(7, 1, true, charge()).value();
    EXPECT_FALSE(table.add_mapping(file, 1, {1, 1}, 0, charge()));
    EXPECT_FALSE(table.add_pin(file, 1, {0, 1}, PercpuRef::Ref(), charge()));
    EXPECT_EQ(budget.charged(), 2u) << "the handles";
    const auto mapping = table.add_mapping(file, 1, {0, 1}, 0, charge());
    ASSERT_TRUE(table.add_mapping(file, 2, {0, 1}, 0, charge()));
    ASSERT_TRUE(table.add_pin(file, 3, {0, 1}, ref_.tryget_live(), charge()));
    ASSERT_TRUE(table.add_takeover(file, 3, {0, 1}, std::chrono::seconds(1), charge()));
    EXPECT_FALSE(table.add_takeover(other, 3, {0, 1}, std::chrono::seconds(1), charge()));
    EXPECT_EQ(budget.charged(), 6u);
    ASSERT_TRUE(table.remove(file, ReferenceKind::kMapping, *mapping));
    EXPECT_EQ(budget.charged(), 5u);
    table.remove_process(2);
    EXPECT_EQ(budget.charged(), 4u);
    table.remove_pins();
    EXPECT_EQ(budget.charged(), 3u);
    table.remove_handle(file);
    EXPECT_EQ(budget.charged(), 1u) << "the other handle";
  }
  EXPECT_EQ(budget.charged(), 0u);
}

TEST_F(ClaimTableTest, AFileHasAWriterAsLongAsAWritableHandleIsOpen) {
  open_file(7);
  EXPECT_FALSE(table_.has_writer(7));
  const uint64_t a = table_.add_handle(7, 1, true).value();
  const uint64_t b = table_.add_handle(7, 1, true).value();
  EXPECT_TRUE(table_.is_writable(a));
  EXPECT_FALSE(table_.is_writable(open_file(7)));
  EXPECT_FALSE(table_.is_writable(12345)) << "no such handle";
  table_.remove_handle(a);
  EXPECT_TRUE(table_.has_writer(7));
  EXPECT_FALSE(table_.has_writer(8));
  table_.remove_handle(b);
  EXPECT_FALSE(table_.has_writer(7));
}

TEST_F(ClaimTableTest, ClosedOnlyIfIdleStaysOpenWhenItIsNot) {
  const uint64_t file = open_file();
  EXPECT_FALSE(table_.close(true));
  EXPECT_TRUE(table_.add_handle(7, 1, false).has_value());
  EXPECT_TRUE(table_.close(false));
  table_.open();
  EXPECT_TRUE(pin(file, {0, 1})) << "handles outlive a removal";
}

TEST_F(ClaimTableTest, PinnedIsWhatOverlapsAPinOfTheSameFile) {
  const uint64_t file = open_file(7);
  ASSERT_TRUE(table_.add_mapping(file, 1, {0, 100}, 0));
  EXPECT_FALSE(table_.is_pinned(7, {0, 100})) << "a mapping pins nothing";
  ASSERT_TRUE(pin(file, {10, 20}));
  EXPECT_TRUE(table_.is_pinned(7, {19, 30}));
  EXPECT_TRUE(table_.is_pinned(7, {0, 11}));
  EXPECT_FALSE(table_.is_pinned(7, {20, 30}));
  EXPECT_FALSE(table_.is_pinned(7, {0, 10}));
  EXPECT_FALSE(table_.is_pinned(8, {0, 100}));
}

TEST_F(ClaimTableTest, TakeoverWantsARangeOfItsOwn) {
  constexpr std::chrono::milliseconds kTimeout(5);
  const auto take_over = [&](uint64_t handle, FileRange range) {
    return table_.add_takeover(handle, 3, range, kTimeout);
  };
  const uint64_t mine = table_.add_handle(7, 1, true).value();
  const uint64_t others = table_.add_handle(7, 1, true).value();
  const uint64_t of_another_file = table_.add_handle(8, 1, true).value();
  EXPECT_EQ(take_over(12345, {0, 1}).err(), EBADF);
  EXPECT_EQ(take_over(mine, {1, 1}).err(), EINVAL);
  const auto id = take_over(mine, {100, 200});
  ASSERT_TRUE(id);
  EXPECT_EQ(take_over(others, {199, 300}).err(), EEXIST);
  EXPECT_EQ(take_over(others, {0, 101}).err(), EEXIST);
  EXPECT_TRUE(take_over(others, {200, 300}));
  EXPECT_TRUE(take_over(others, {0, 100}));
  EXPECT_TRUE(take_over(mine, {150, 160})) << "one's own may overlap";
  EXPECT_TRUE(take_over(of_another_file, {100, 200}));
  EXPECT_EQ(table_.counts().takeovers, 5u);
  const auto found = table_.find(ReferenceKind::kTakeover, ReferenceFilter{7, {150, 151}});
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].id, *id);
  EXPECT_EQ(found[0].handle, mine);
  EXPECT_EQ(found[0].pid, 3);
  EXPECT_EQ(found[0].timeout, kTimeout);
  table_.remove_handle(mine);
  EXPECT_TRUE(take_over(others, {100, 200}));
  EXPECT_EQ(table_.remove_process(3).size(), 4u);
  EXPECT_EQ(table_.counts().takeovers, 0u);
  ASSERT_TRUE(table_.close(false));
  EXPECT_EQ(take_over(others, {0, 1}).err(), ENODEV);
}

TEST_F(ClaimTableTest, FindsClaimsByKindFileAndRange) {
  const uint64_t file = open_file(7);
  const uint64_t other = open_file(8);
  const uint64_t a = table_.add_mapping(file, 1, {0, 100}, 0).value();
  const uint64_t b = table_.add_mapping(file, 1, {50, 200}, 0).value();
  const uint64_t c = table_.add_mapping(other, 1, {0, 100}, 0).value();
  ASSERT_TRUE(pin(file, {0, 200}));
  const auto ids = [&](const std::optional<ReferenceFilter>& only) {
    std::vector<uint64_t> found;
    for (const Reference& one : table_.find(ReferenceKind::kMapping, only)) found.push_back(one.id);
    return found;
  };
  EXPECT_EQ(ids(std::nullopt), (std::vector<uint64_t>{a, b, c}));
  EXPECT_EQ(ids(ReferenceFilter{7, {0, 50}}), (std::vector<uint64_t>{a}));
  EXPECT_EQ(ids(ReferenceFilter{7, {99, 101}}), (std::vector<uint64_t>{a, b}));
  EXPECT_EQ(ids(ReferenceFilter{7, {200, 300}}), std::vector<uint64_t>());
  EXPECT_EQ(ids(ReferenceFilter{8}), (std::vector<uint64_t>{c}));
  EXPECT_EQ(ids(ReferenceFilter{9}), std::vector<uint64_t>());
  EXPECT_EQ(table_.handles(), (std::vector<uint64_t>{file, other}));
  EXPECT_TRUE(table_.has_handle(other));
  EXPECT_TRUE(table_.has_claim(other, c));
  EXPECT_FALSE(table_.has_claim(file, c));
  table_.remove_handle(other);
  EXPECT_FALSE(table_.has_handle(other));
  EXPECT_FALSE(table_.has_claim(other, c));
  EXPECT_EQ(ids(std::nullopt), (std::vector<uint64_t>{a, b})) << "the index follows";
}

TEST_F(ClaimTableTest, ListTellsWhoHasWhat) {
  const uint64_t file = open_file(7, 42);
  ASSERT_TRUE(table_.add_mapping(file, 43, {0, 8192}, 0x7000));
  ASSERT_TRUE(pin(file, {4096, 8192}, 44));
  const auto list = table_.list();
  ASSERT_EQ(list.size(), 3u);
  EXPECT_EQ(list[0].kind, ReferenceKind::kHandle);
  EXPECT_EQ(list[0].pid, 42);
  EXPECT_EQ(list[0].range, kWholeFile);
  EXPECT_EQ(list[1].kind, ReferenceKind::kMapping);
  EXPECT_EQ(list[1].pid, 43);
  EXPECT_EQ(list[1].address, 0x7000u);
  EXPECT_EQ(list[2].kind, ReferenceKind::kPin);
  EXPECT_EQ(list[2].ino, 7u) << "the handle's";
  EXPECT_EQ(list[2].range, (FileRange{4096, 8192}));
  EXPECT_LE(list[2].since, std::chrono::system_clock::now());
}

TEST_F(ClaimTableTest, WaitsEndWithTheLastOneOrTheDeadlineOrAnInterrupt) {
  EXPECT_TRUE(table_.wait_unpinned(Clock::now()));
  EXPECT_TRUE(table_.wait_handles_closed(Clock::now()));
  const uint64_t file = open_file();
  ASSERT_TRUE(pin(file, {0, 1}));
  EXPECT_FALSE(table_.wait_unpinned(Clock::now()));
  EXPECT_FALSE(table_.wait_handles_closed(Clock::now()));
  {
    const std::jthread closer([&] {
      let_others_fall_asleep();
      table_.remove_handle(file);
    });
    EXPECT_TRUE(table_.wait_unpinned(deadline_after(kLong)));
    EXPECT_TRUE(table_.wait_handles_closed(deadline_after(kLong)));
  }
  ASSERT_TRUE(pin(open_file(), {0, 1}));
  const std::jthread interrupter([&] {
    let_others_fall_asleep();
    table_.interrupt();
  });
  EXPECT_FALSE(table_.wait_unpinned(deadline_after(kLong)));
  EXPECT_FALSE(table_.wait_handles_closed(deadline_after(kLong))) << "for good";
}

TEST_F(ClaimTableTest, RandomClaimsAgreeWithAPlainList) {
  struct Plain {
    uint64_t handle, id;
    pid_t pid;
    bool is_pin;
  };
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937_64 random(seed);
    std::vector<uint64_t> handles;
    std::vector<Plain> plain;
    const auto forget = [&](auto wanted) { return std::erase_if(plain, wanted); };
    for (int i = 0; i < 400; ++i) {
      const auto pid = static_cast<pid_t>(1 + random() % 4);
      switch (random() % 6) {
        case 0:
          handles.push_back(open_file(random() % 3, pid));
          break;
        case 1:
        case 2:
        case 3:
          if (!handles.empty()) {
            const uint64_t handle = handles[random() % handles.size()];
            const bool is_pin = random() % 2 == 0;
            const auto id =
                is_pin ? pin(handle, {0, 1}, pid) : table_.add_mapping(handle, pid, {0, 1}, 0);
            plain.push_back({handle, id.value(), pid, is_pin});
          }
          break;
        case 4:
          if (!handles.empty() && random() % 4 == 0) {
            const size_t at = random() % handles.size();
            table_.remove_handle(handles[at]);
            forget([&](const Plain& p) { return p.handle == handles[at]; });
            handles.erase(handles.begin() + static_cast<long>(at));
          } else if (!plain.empty()) {
            const Plain p = plain[random() % plain.size()];
            EXPECT_TRUE(table_.remove(
                p.handle, p.is_pin ? ReferenceKind::kPin : ReferenceKind::kMapping, p.id));
            forget([&](const Plain& other) { return other.id == p.id; });
          }
          break;
        default:
          if (random() % 8 == 0) {
            const size_t gone = forget([&](const Plain& p) { return p.pid == pid; });
            EXPECT_EQ(table_.remove_process(pid).size(), gone);
          }
      }
      const auto pins = std::ranges::count_if(plain, &Plain::is_pin);
      ASSERT_EQ(table_.counts().pins, static_cast<uint64_t>(pins));
      ASSERT_EQ(table_.counts().mappings, plain.size() - static_cast<uint64_t>(pins));
      ASSERT_EQ(table_.counts().handles, handles.size());
      ASSERT_EQ(ref_.count(), static_cast<uint64_t>(pins));
    }
    for (const uint64_t handle : handles) table_.remove_handle(handle);
    ASSERT_EQ(ref_.count(), 0u);
  }
}

// Whoever closes the gate has seen all pins that were let in: none comes behind it.
TEST_F(ClaimTableTest, NoPinComesBehindTheGate) {
  std::atomic<bool> stop = false;
  const uint64_t file = open_file();
  std::vector<std::jthread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      while (!stop) {
        if (const auto id = pin(file, {0, 1})) (void)table_.remove(file, ReferenceKind::kPin, *id);
      }
    });
  }
  for (int i = 0; i < 300; ++i) {
    ASSERT_TRUE(table_.close(false));
    ASSERT_TRUE(table_.wait_unpinned(deadline_after(kLong)));
    EXPECT_EQ(table_.counts().pins, 0u);
    table_.open();
  }
  stop = true;
}

TEST(ClaimTableDeathTest, DestroyedWithAPinIsABug) {
  EXPECT_DEATH(
      {
        PercpuRef ref;
        ref.reinit();
        ClaimTable table;
        table.open();
        (void)table.add_pin(table.add_handle(1, 1, false).value(), 1, {0, 1}, ref.tryget_live());
      },
      "pins == 0");
}

}  // namespace
}  // namespace pmemd
