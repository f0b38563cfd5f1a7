#include "daemon/kernel/process_watch.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <vector>

namespace pmemd {
namespace {

constexpr uid_t kAlice = 70'001, kBob = 70'002;

// A process that does nothing, until it is killed.
class Child {
 public:
  Child() : pid_(fork()) {
    if (pid_ == 0) {
      while (true) pause();
    }
  }
  ~Child() { end(); }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  pid_t pid() const { return pid_; }
  void end() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

 private:
  pid_t pid_;
};

TEST(ProcessWatch, AUserPaysForEachProcessUntilItEnds) {
  UserBudget budget({.per_user = 1, .users = 2, .total = 3});
  std::vector<pid_t> ended;
  ProcessWatch watch(budget, [&](pid_t pid) { ended.push_back(pid); });
  Child a, b, c;
  ASSERT_TRUE(watch.add(a.pid(), kAlice));
  EXPECT_TRUE(watch.add(a.pid(), kBob)) << "again is no error, and costs nobody";
  EXPECT_EQ(budget.charged_to(kBob), 0u);
  EXPECT_EQ(watch.add(b.pid(), kAlice).err(), ENOMEM);
  EXPECT_FALSE(watch.watches(b.pid()));
  EXPECT_TRUE(watch.add(b.pid(), kBob)) << "another user has his own";
  EXPECT_TRUE(watch.add(c.pid(), 0)) << "and root some left";
  watch.dispatch();
  EXPECT_EQ(ended, std::vector<pid_t>{}) << "nobody has ended";
  const pid_t first = a.pid();
  a.end();
  pollfd readable{.fd = watch.fd(), .events = POLLIN, .revents = 0};
  ASSERT_EQ(poll(&readable, 1, -1), 1);
  watch.dispatch();
  EXPECT_EQ(ended, std::vector<pid_t>{first});
  EXPECT_EQ(poll(&readable, 1, 0), 0) << "it is told once";
  EXPECT_EQ(budget.charged_to(kAlice), 0u);
  EXPECT_FALSE(watch.watches(a.pid()));
}

TEST(ProcessWatch, NoProcessIsESRCHAndCostsNothing) {
  UserBudget budget({.per_user = 1, .users = 1, .total = 1});
  ProcessWatch watch(budget, [](pid_t) {});
  EXPECT_EQ(watch.add(0, kAlice).err(), ESRCH);
  Child gone;
  const pid_t pid = gone.pid();
  gone.end();
  EXPECT_EQ(watch.add(pid, kAlice).err(), ESRCH);
  EXPECT_EQ(budget.charged(), 0u);
}

}  // namespace
}  // namespace pmemd
