#include "core/base/user_budget.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

namespace pmemd {
namespace {

constexpr uid_t kAlice = 70'001, kBob = 70'002, kCarol = 70'003;

using Charges = std::vector<UserBudget::Charge>;

// As much as the user gets.
uint64_t take_all(UserBudget& budget, uid_t uid, Charges& charges) {
  uint64_t count = 0;
  while (auto charge = budget.charge(uid)) {
    charges.push_back(*std::move(charge));
    ++count;
  }
  return count;
}

TEST(UserBudget, OneUserLeavesTheOthersTheirs) {
  UserBudget budget({.per_user = 3, .users = 5, .total = 8});
  Charges charges;
  EXPECT_EQ(take_all(budget, kAlice, charges), 3u);
  EXPECT_EQ(budget.charged_to(kAlice), 3u);
  EXPECT_EQ(take_all(budget, kBob, charges), 2u) << "all users together";
  EXPECT_EQ(take_all(budget, kCarol, charges), 0u);
  EXPECT_EQ(take_all(budget, 0, charges), 3u) << "root's reserve, and nobody's but root's";
  EXPECT_EQ(budget.charged(), 8u);
}

TEST(UserBudget, RootIsBoundedByTheTotalAlone) {
  UserBudget budget({.per_user = 1, .users = 2, .total = 4});
  Charges charges;
  EXPECT_EQ(take_all(budget, 0, charges), 4u);
  EXPECT_FALSE(budget.charge(kAlice));
  EXPECT_TRUE(UserBudget::is_privileged(geteuid())) << "whoever the daemon runs as is no guest";
  EXPECT_FALSE(UserBudget::is_privileged(kAlice));
}

TEST(UserBudget, AChargeIsGivenBackOnce) {
  UserBudget budget({.per_user = 1, .users = 1, .total = 1});
  {
    auto charge = budget.charge(kAlice);
    ASSERT_TRUE(charge);
    UserBudget::Charge moved = *std::move(charge);
    EXPECT_FALSE(budget.charge(kAlice)) << "the one that was moved from holds nothing";
    UserBudget::Charge assigned;
    assigned = std::move(moved);
    EXPECT_EQ(budget.charged(), 1u);
    assigned = UserBudget::Charge();
    EXPECT_EQ(budget.charged(), 0u) << "given back by the assignment";
  }
  EXPECT_EQ(budget.charged_to(kAlice), 0u);
  EXPECT_TRUE(budget.charge(kBob));
}

TEST(UserBudget, ThreadsNeverGetMoreThanThereIs) {
  constexpr uint64_t kPerUser = 7, kUsers = 10;
  UserBudget budget({.per_user = kPerUser, .users = kUsers, .total = 12});
  std::atomic<bool> wrong = false;
  {
    std::vector<std::jthread> threads;
    for (const uid_t uid : {kAlice, kAlice, kBob, uid_t{0}}) {
      threads.emplace_back([&, uid] {
        Charges charges;
        for (int i = 0; i < 20'000; ++i) {
          if (auto charge = budget.charge(uid)) charges.push_back(*std::move(charge));
          if (budget.charged() > 12) wrong = true;
          if (uid != 0 && budget.charged_to(uid) > kPerUser) wrong = true;
          if (i % 5 == 0) charges.clear();
        }
      });
    }
  }
  EXPECT_FALSE(wrong);
  EXPECT_EQ(budget.charged(), 0u);
}

}  // namespace
}  // namespace pmemd
