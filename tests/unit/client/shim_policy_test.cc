#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <latch>
#include <thread>
#include <vector>

#include "client/shim/policy.h"
#include "tests/sanitizer.h"

namespace pmemd::test {
namespace {

constexpr mce_bits kBits = {0x80, 0x08000000};
constexpr uint32_t kNone = 0x400040, kLate = kNone | kBits.process, kEarly = kLate | kBits.early;

bool wants_early(const std::vector<uint32_t>& flags, bool default_early) {
  return shim_wants_early(flags.data(), static_cast<int>(flags.size()), kBits, default_early);
}

TEST(ShimPolicy, OneEarlyThreadIsEnough) {
  EXPECT_TRUE(wants_early({kLate, kEarly, kLate}, false));
  EXPECT_TRUE(wants_early({kEarly}, false));
  EXPECT_FALSE(wants_early({kLate, kLate}, true));
}

TEST(ShimPolicy, ThreadsWithoutAPolicyTakeTheDefault) {
  EXPECT_FALSE(wants_early({kNone, kNone}, false));
  EXPECT_TRUE(wants_early({kNone, kLate}, true));
  EXPECT_TRUE(wants_early({kNone | kBits.early}, true));
  EXPECT_FALSE(wants_early({kNone | kBits.early}, false));  // early, of no policy: means nothing
}

TEST(ShimPolicy, FindsTheBitsAndLeavesItsOwnThreadLate) {
  std::thread([] {
    mce_bits bits = {};
    ASSERT_TRUE(shim_find_mce_bits(&bits));
    EXPECT_EQ(bits.process, kBits.process);
    EXPECT_EQ(bits.early, kBits.early);
    EXPECT_EQ(prctl(PR_MCE_KILL_GET, 0, 0, 0, 0), PR_MCE_KILL_LATE);
  }).join();
}

bool asked_in_a_thread(bool default_early) {
  bool early = false;
  static pid_t asking;
  std::thread([&] {
    asking = gettid();
    early =
        shim_process_wants_early(default_early, [](int32_t thread) { return thread == asking; });
  }).join();
  return early;
}

TEST(ShimPolicy, ReadsWhatEachThreadHasSet) {
  SKIP_UNDER_TSAN("a thread more");
  EXPECT_FALSE(asked_in_a_thread(false));
  EXPECT_TRUE(asked_in_a_thread(true));

  std::latch set(1);
  std::latch done(1);
  std::thread other([&] {
    prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0);
    set.count_down();
    done.wait();
  });
  set.wait();
  EXPECT_TRUE(asked_in_a_thread(false));
  done.count_down();
  other.join();
  EXPECT_FALSE(asked_in_a_thread(false));

  prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_LATE, 0, 0);
  EXPECT_FALSE(asked_in_a_thread(true));
  prctl(PR_MCE_KILL, PR_MCE_KILL_CLEAR, 0, 0, 0);
}

}  // namespace
}  // namespace pmemd::test
