// When a thread is added, when the connection is aborted, when the process ends: and when not.
#include "daemon/fuse/watchdog.h"

#include <gtest/gtest.h>

#include <optional>

#include "core/base/mutex.h"

namespace pmemd {
namespace {

using std::chrono::milliseconds;

// A service that the test moves, and what the watchdog did to it.
class Service {
 public:
  Watchdog::Ports ports() {
    return {.nobody_reads = [this] { return ask(nobody_reads_); },
            .progress = [this] { return look(); },
            .is_writing = [this] { return ask(is_writing_); },
            .add_thread = [this] { return add_thread(); },
            .abort = [this] { note(aborts_); },
            .exit = [this] { note(exits_); }};
  }
  void set_nobody_reads(bool nobody) {
    MutexLock lock(mutex_);
    nobody_reads_ = nobody;
  }
  void set_writing(bool writing) {
    MutexLock lock(mutex_);
    is_writing_ = writing;
  }
  void set_moving(bool moving) {
    MutexLock lock(mutex_);
    moving_ = moving;
  }
  void let_add(int threads) {
    MutexLock lock(mutex_);
    may_add_ = threads;
  }
  // Return when it has happened so often; the test's own timeout ends a wait for what doesn't.
  void wait_looks(int more) { wait_for(looks_, more); }
  void wait_added(int threads) { wait_for(added_, threads); }
  void wait_abort() { wait_for(aborts_, 1); }
  void wait_exit() { wait_for(exits_, 1); }
  int aborts() { return count(aborts_); }
  int exits() { return count(exits_); }
  int added() { return count(added_); }

 private:
  bool ask(const bool& what) {
    MutexLock lock(mutex_);
    return what;
  }
  int count(const int& what) {
    MutexLock lock(mutex_);
    return what;
  }
  void note(int& what) {
    MutexLock lock(mutex_);
    ++what;
    changed_.notify_all();
  }
  uint64_t look() {
    MutexLock lock(mutex_);
    if (moving_) ++progress_;
    ++looks_;
    changed_.notify_all();
    return progress_;
  }
  bool add_thread() {
    MutexLock lock(mutex_);
    if (added_ >= may_add_) return false;
    ++added_;
    changed_.notify_all();
    return true;
  }
  void wait_for(const int& what, int more) {
    MutexLock lock(mutex_);
    const int enough = &what == &looks_ ? what + more : more;
    while (what < enough) changed_.wait(mutex_);
  }

  Mutex mutex_;
  CondVar changed_;
  bool nobody_reads_ = false, moving_ = false;
  bool is_writing_ PMEMD_GUARDED_BY(mutex_) = false;
  uint64_t progress_ = 0;
  int may_add_ = 0, added_ = 0, looks_ = 0, aborts_ = 0, exits_ = 0;
};

class WatchdogTest : public testing::Test {
 protected:
  // A look is at most this long after the one before.
  static constexpr Watchdog::Limits kLimits{.look = milliseconds(1),
                                            .settle = milliseconds(1),
                                            .stall = milliseconds(20),
                                            .exit_after = milliseconds(20)};
  static constexpr int kMany = 60;  // looks: more than it takes to abort

  Service service_;
};

TEST_F(WatchdogTest, WhileAThreadReadsNothingHappensThoughNothingComes) {
  Watchdog watchdog(service_.ports(), kLimits);
  service_.wait_looks(kMany);
  EXPECT_EQ(service_.aborts(), 0);
  EXPECT_EQ(service_.added(), 0);
}

TEST_F(WatchdogTest, BusyThreadsThatGoOnAreLeftAlone) {
  service_.set_nobody_reads(true);
  service_.set_moving(true);
  Watchdog watchdog(service_.ports(), kLimits);
  service_.wait_looks(kMany);
  EXPECT_EQ(service_.aborts(), 0);
}

TEST_F(WatchdogTest, ThreadsAreAddedAsLongAsThereMayBeMoreAndOnlyThenItAborts) {
  service_.set_nobody_reads(true);
  service_.let_add(3);
  Watchdog watchdog(service_.ports(), kLimits);
  service_.wait_abort();
  EXPECT_EQ(service_.added(), 3);
  EXPECT_TRUE(watchdog.has_aborted());
  service_.wait_looks(0);
  EXPECT_EQ(service_.exits(), 0) << "nobody has asked for a stop";
}

TEST_F(WatchdogTest, OneThatIsNotToAbortDoesNot) {
  service_.set_nobody_reads(true);
  Watchdog::Limits limits = kLimits;
  limits.stall = milliseconds(0);
  Watchdog watchdog(service_.ports(), limits);
  service_.wait_looks(kMany);
  EXPECT_EQ(service_.aborts(), 0);
}

TEST_F(WatchdogTest, BeingWokenItLooksAtOnce) {
  Watchdog::Limits limits = kLimits;
  limits.look = std::chrono::hours(1);
  Watchdog watchdog(service_.ports(), limits);
  service_.set_nobody_reads(true);
  service_.let_add(1);
  watchdog.wake();
  service_.wait_added(1);
}

TEST_F(WatchdogTest, AStopInWhichNothingMovesIsAbortedAndThenEndsTheProcess) {
  std::optional<Watchdog> watchdog(std::in_place, service_.ports(), kLimits);
  watchdog->stop_within(milliseconds(20));
  service_.wait_abort();
  service_.wait_exit();
  watchdog.reset();
  EXPECT_EQ(service_.aborts(), 1);
}

TEST_F(WatchdogTest, AStopThatWritesTheMediumIsLeftAloneUntilItHasDone) {
  service_.set_writing(true);
  Watchdog watchdog(service_.ports(), kLimits);
  watchdog.stop_within(milliseconds(20));
  service_.wait_looks(kMany);
  EXPECT_EQ(service_.aborts(), 0);
  service_.set_writing(false);
  service_.wait_abort();
}

TEST_F(WatchdogTest, WritingIsNoReasonToGoOnWhileNobodyReads) {
  service_.set_writing(true);
  service_.set_nobody_reads(true);
  Watchdog watchdog(service_.ports(), kLimits);
  service_.wait_abort();
}

TEST_F(WatchdogTest, AStopInWhichRequestsAreServedIsLeftAlone) {
  service_.set_moving(true);
  Watchdog watchdog(service_.ports(), kLimits);
  watchdog.stop_within(milliseconds(20));
  service_.wait_looks(kMany);
  EXPECT_EQ(service_.aborts(), 0);
}

}  // namespace
}  // namespace pmemd
