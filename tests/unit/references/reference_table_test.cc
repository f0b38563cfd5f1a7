#include "core/references/reference_table.h"

#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <thread>
#include <vector>

namespace pmemd {
namespace {

class ReferenceTableTest : public testing::Test {
 protected:
  ReferenceTableTest() {
    ref_.reinit();
    table_.claims().open();
  }
  ~ReferenceTableTest() override {
    table_.claims().remove_pins();
    table_.leases().give_back_all();
    ref_.kill();
    EXPECT_TRUE(ref_.wait(Clock::now()));
  }
  uint64_t count(ReferenceKind kind) const { return table_.list(0).count(kind); }

  PercpuRef ref_;
  ReferenceTable table_{ref_};
};

TEST_F(ReferenceTableTest, CountsEachKindAndWhatHoldsThePagemap) {
  ASSERT_TRUE(table_.leases().lend(5, {0, 4096}));
  ASSERT_TRUE(table_.leases().lend(5, {8192, 12288}));
  ASSERT_TRUE(table_.leases().lend(6, {0, 4096}));
  const uint64_t file = table_.claims().add_handle(5, 1, true).value();
  ASSERT_TRUE(table_.claims().add_mapping(file, 1, {0, 4096}, 0));
  ASSERT_TRUE(table_.claims().add_pin(file, 1, {0, 4096}, ref_.tryget_live()));
  const auto request = table_.requests().enter({.what = "READ", .pid = 3, .ino = 5});
  EXPECT_EQ(count(ReferenceKind::kLease), 3u);
  EXPECT_EQ(count(ReferenceKind::kHandle), 1u);
  EXPECT_EQ(count(ReferenceKind::kMapping), 1u);
  EXPECT_EQ(count(ReferenceKind::kPin), 1u);
  EXPECT_EQ(count(ReferenceKind::kRequest), 1u);
  EXPECT_EQ(table_.held(), 4u);
  EXPECT_EQ(ref_.count(), table_.held()) << "nothing leaks";
}

TEST_F(ReferenceTableTest, ListBeginsWithWhatHoldsUpARemovalAndHasALimit) {
  for (uint64_t i = 0; i < 10; ++i) ASSERT_TRUE(table_.leases().lend(i, {0, 4096}));
  const uint64_t file = table_.claims().add_handle(5, 1, true).value();
  ASSERT_TRUE(table_.claims().add_pin(file, 2, {0, 4096}, ref_.tryget_live()));
  const auto request =
      table_.requests().enter({.what = "WRITE", .pid = 3, .ino = 5, .range = {1, 2}});
  const auto all = table_.list(1000);
  ASSERT_EQ(all.references.size(), 13u);
  EXPECT_EQ(all.omitted, 0u);
  EXPECT_EQ(all.references[0].kind, ReferenceKind::kRequest);
  EXPECT_EQ(all.references[0].what, "WRITE");
  EXPECT_EQ(all.references[0].pid, 3);
  EXPECT_EQ(all.references[0].range, (FileRange{1, 2}));
  EXPECT_EQ(all.references[1].kind, ReferenceKind::kPin);
  EXPECT_EQ(all.references[2].kind, ReferenceKind::kHandle);
  EXPECT_EQ(all.references[3].kind, ReferenceKind::kLease);
  EXPECT_EQ(all.references[3].pid, 0);
  const auto some = table_.list(5);
  EXPECT_EQ(some.references.size(), 5u);
  EXPECT_EQ(some.omitted, 8u);
  const auto few = table_.list(1);
  EXPECT_EQ(few.references.size(), 1u);
  EXPECT_EQ(few.omitted, 12u);
}

TEST_F(ReferenceTableTest, CountsByHolderAlsoWhatTheLimitLeavesOut) {
  ASSERT_TRUE(table_.leases().lend(5, {0, 4096}));
  const uint64_t file = table_.claims().add_handle(5, 1, true).value();
  ASSERT_TRUE(table_.claims().add_pin(file, 2, {0, 4096}, ref_.tryget_live()));
  ASSERT_TRUE(table_.claims().add_pin(file, 2, {0, 4096}, ref_.tryget_live()));
  const auto list = table_.list(0);
  const auto of = [&](pid_t pid, ReferenceKind kind) {
    return list.by_holder.at(pid).at(static_cast<size_t>(kind));
  };
  EXPECT_EQ(list.by_holder.size(), 2u) << "a lease is nobody's";
  EXPECT_EQ(of(1, ReferenceKind::kHandle), 1u);
  EXPECT_EQ(of(1, ReferenceKind::kPin), 0u);
  EXPECT_EQ(of(2, ReferenceKind::kPin), 2u);
}

TEST_F(ReferenceTableTest, FilterPicksWhatTouchesTheRangeOfTheFile) {
  ASSERT_TRUE(table_.leases().lend(5, {0, 4096}));
  ASSERT_TRUE(table_.leases().lend(5, {8192, 12288}));
  ASSERT_TRUE(table_.leases().lend(6, {0, 4096}));
  const uint64_t file = table_.claims().add_handle(5, 1, true).value();
  const uint64_t other = table_.claims().add_handle(6, 1, true).value();
  ASSERT_TRUE(table_.claims().add_pin(file, 1, {4096, 8192}, ref_.tryget_live()));
  ASSERT_TRUE(table_.claims().add_mapping(other, 1, {0, 4096}, 0));
  const auto request = table_.requests().enter({.what = "READ", .ino = 5, .range = {4096, 8192}});
  const auto all = table_.list(100, ReferenceFilter{.ino = 5});
  EXPECT_EQ(all.references.size(), 5u);
  EXPECT_EQ(all.count(ReferenceKind::kMapping), 0u);
  const auto some = table_.list(100, ReferenceFilter{.ino = 5, .range = {0, 4097}});
  EXPECT_EQ(some.count(ReferenceKind::kLease), 1u);
  EXPECT_EQ(some.count(ReferenceKind::kPin), 1u);
  EXPECT_EQ(some.count(ReferenceKind::kRequest), 1u);
  EXPECT_EQ(some.count(ReferenceKind::kHandle), 1u);
  const auto few = table_.list(1, ReferenceFilter{.ino = 5});
  EXPECT_EQ(few.references.size(), 1u);
  EXPECT_EQ(few.count(ReferenceKind::kLease), 2u);
  EXPECT_EQ(few.omitted, 4u);
  EXPECT_TRUE(table_.list(100, ReferenceFilter{.ino = 7}).references.empty());
}

TEST_F(ReferenceTableTest, RequestIsListedUntilItEndsWhereverItIsMoved) {
  RequestTable requests;
  std::optional<RequestTable::Entry> outer;
  {
    auto entry = requests.enter({.what = "READ"});
    auto moved = std::move(entry);
    outer = std::move(moved);
  }
  EXPECT_EQ(requests.list().size(), 1u);
  outer.reset();
  EXPECT_EQ(requests.list().size(), 0u);
}

TEST_F(ReferenceTableTest, RequestsBeyondTheSlotsAreNotListedAndHarmNobody) {
  RequestTable requests;
  std::vector<RequestTable::Entry> entries;
  for (size_t i = 0; i < RequestTable::kSlots + 3; ++i) {
    entries.push_back(requests.enter({.what = "READ", .ino = i}));
  }
  EXPECT_EQ(requests.list().size(), RequestTable::kSlots);
  entries.clear();
  EXPECT_EQ(requests.list().size(), 0u);
  const auto again = requests.enter({.what = "READ"});
  EXPECT_EQ(requests.list().size(), 1u);
}

TEST_F(ReferenceTableTest, RequestsOfManyThreadsAreListedOnceEachAtMost) {
  RequestTable requests;
  std::atomic<bool> stop = false;
  std::vector<std::jthread> threads;
  for (uint64_t t = 1; t <= 4; ++t) {
    threads.emplace_back([&, t] {
      while (!stop) {
        const auto entry = requests.enter(
            {.what = "READ", .pid = static_cast<pid_t>(t), .ino = t, .range = {t, 2 * t}});
      }
    });
  }
  for (int i = 0; i < 2000; ++i) EXPECT_LE(requests.list().size(), 4u);
  stop = true;
}

}  // namespace
}  // namespace pmemd
