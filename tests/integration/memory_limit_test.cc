// The daemon in an address space that is too small, or nearly: it serves, or it says that it can't.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <string>

#include "tests/integration/support/control_client.h"
#include "tests/integration/support/harness.h"
#include "tests/sanitizer.h"

namespace pmemd {
namespace {

using testing::AllOf;
using testing::AnyOf;
using testing::HasSubstr;

constexpr uint64_t kMiB = 1 << 20;

class MemoryLimitTest : public MountTest {
 protected:
  // What the daemon said when it refused; empty: it served.
  static std::string start_with(uint64_t mib) {
    TestPool pool(Storage::kMemory);
    const rlimit limit{mib * kMiB, mib * kMiB};
    try {
      pool.start({.create = "64M", .before_exec = [&] { setrlimit(RLIMIT_AS, &limit); }});
    } catch (const std::runtime_error& error) {
      EXPECT_FALSE(is_mount_point(pool.mount()));
      return error.what();
    }
    const std::string bytes = pattern(mib, 1 * kMiB);
    write_file(pool.path("pmem0/file"), bytes);
    fsync_path(pool.path("pmem0/file"));
    EXPECT_EQ(read_file(pool.path("pmem0/file")), bytes);
    pool.stop();
    pool.expect_check_passes();
    return "";
  }
};

TEST_F(MemoryLimitTest, IsServedWithinOrRefusedWithAReason) {
  if (kHasSanitizer) GTEST_SKIP() << "a sanitizer takes terabytes of address space";
  int served = 0, refused = 0;
  for (uint64_t mib = 60; mib <= 1200; mib += mib < 300 ? 20 : 300) {
    SCOPED_TRACE(testing::Message() << mib << " MiB");
    const std::string said = start_with(mib);
    ++(said.empty() ? served : refused);
    if (said.empty()) continue;
    EXPECT_THAT(said, HasSubstr("ended with 1: ")) << "not by a signal";
    EXPECT_THAT(said, AllOf(AnyOf(HasSubstr("memory"), HasSubstr("Resource temporarily")),
                            HasSubstr("raise the limits")));
  }
  EXPECT_GT(served, 0);
  EXPECT_GT(refused, 0);
}

// One arena of malloc's, so that it grows by brk() alone, and a limit that it has reached already.
TEST_F(MemoryLimitTest, ThatIsReachedIsAnErrorForWhoAsksAndNoHarm) {
  if (kHasSanitizer) GTEST_SKIP() << "a sanitizer has an allocator of its own";
  TestPool pool(Storage::kMemory);
  pool.start({.create = "64M", .env = {"MALLOC_ARENA_MAX=1"}});
  const std::string bytes = pattern(1, 1 * kMiB);
  write_file(pool.path("pmem0/file"), bytes);
  const auto set_limit = [&](rlim_t limit) {
    const rlimit both{limit, RLIM_INFINITY};
    ASSERT_EQ(prlimit(pool.daemon().pid(), RLIMIT_AS, &both, nullptr), 0);
  };
  set_limit(1 * kMiB);
  int made = 0, refused = 0;
  for (int i = 0; i < 200'000 && refused < 200; ++i) {
    const UniqueFd fd(
        open(pool.path("pmem0/" + std::to_string(i)).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    if (!fd) {
      ASSERT_EQ(errno, ENOMEM);
    }
    ++(fd ? made : refused);
    if (refused > 0 && i % 16 == 0) {
      const auto listed = ControlClient(pool.socket()).call("List");
      ASSERT_TRUE(listed.done() || listed.err() == ENOMEM) << listed.message();
    }
  }
  EXPECT_GT(made, 0);
  EXPECT_GT(refused, 0) << "it has never run out";
  set_limit(RLIM_INFINITY);

  write_file(pool.path("pmem0/after"), bytes);
  EXPECT_EQ(read_file(pool.path("pmem0/after")), bytes);
  EXPECT_EQ(read_file(pool.path("pmem0/file")), bytes);
  pool.ctl_json({"disable-namespace", "namespace0.0"});
  pool.ctl_json({"enable-namespace", "namespace0.0"});
  EXPECT_EQ(read_file(pool.path("pmem0/after")), bytes);
  pool.expect_check_passes();
  pool.stop();
  pool.expect_check_passes();
}

}  // namespace
}  // namespace pmemd
