// What processes ask for through a device's handles, and that all of it goes with them.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "core/device/device.h"
#include "tests/unit/device/device_pool.h"

namespace pmemd {
namespace {

using std::chrono::milliseconds;

class DeviceClaimsTest : public testing::Test {
 protected:
  DeviceClaimsTest() {
    must(device_.enable());
    file_ = open_file();
  }
  uint64_t open_file(bool writable = true) {
    return must(device_.handles().add({.ino = kIno, .writable = writable}));
  }
  uint64_t map(pid_t pid = 1) {
    return must(device_.handles().register_mapping(file_, pid, {0, 4096}, 0));
  }
  void poison(uint64_t seq = 1) {
    device_.handles().events().tell(kIno, {0, 1}, {.kind = MapperEventKind::kPoison, .seq = seq});
  }

  static constexpr uint64_t kIno = 7;
  DevicePool pool_;
  Device& device_ = pool_.fsdax();
  uint64_t file_ = 0;
};

TEST_F(DeviceClaimsTest, EachErrno) {
  EXPECT_EQ(device_.handles().take_over(12345, 1, {0, 1}, milliseconds(1)).err(), EBADF);
  EXPECT_EQ(device_.handles().take_over(file_, 1, {1, 1}, milliseconds(1)).err(), EINVAL);
  EXPECT_TRUE(device_.handles().take_over(file_, 1, {0, 1}, milliseconds(1)));
  EXPECT_EQ(device_.handles().take_over(open_file(), 1, {0, 1}, milliseconds(1)).err(), EEXIST);
  EXPECT_EQ(device_.handles().end_claim(file_, ReferenceKind::kTakeover, 12345).err(), ENOENT);
  const uint64_t mapping = map();
  must(device_.kill(false));
  EXPECT_EQ(device_.handles().take_over(file_, 1, {0, 1}, milliseconds(1)).err(), EIO);
  EXPECT_EQ(device_.handles().register_mapping(file_, 1, {0, 1}, 0).err(), EIO);
  EXPECT_TRUE(device_.handles().end_claim(file_, ReferenceKind::kMapping, mapping))
      << "in any state";
}

TEST_F(DeviceClaimsTest, EventsGoWithTheClaimTheProcessAndTheHandle) {
  MapperEvents& events = device_.handles().events();
  const uint64_t mapping = map(10);
  map(11);
  poison();
  EXPECT_EQ(events.counts().events, 2u);
  EXPECT_TRUE(device_.handles().end_claim(file_, ReferenceKind::kMapping, mapping));
  EXPECT_EQ(events.counts().events, 1u);
  device_.handles().remove_process(11);
  EXPECT_EQ(events.counts().events, 0u);
  map(12);
  poison();
  EXPECT_EQ(events.counts().events, 1u);
  device_.handles().remove(file_);
  EXPECT_EQ(events.counts().queues, 0u);
}

TEST_F(DeviceClaimsTest, InterruptEndsQuestionsToo) {
  must(device_.handles().take_over(file_, 1, {0, 1}, std::chrono::seconds(20)));
  device_.handles().interrupt_waits();
  EXPECT_TRUE(device_.handles().events().ask_takeover(kIno, {0, 1}, 1, {}).empty());
  EXPECT_EQ(device_.handles().events().counts().events, 0u);
}

// Whoever tells has found the mapping, and its event goes with it; or finds none.
TEST_F(DeviceClaimsTest, NobodyIsToldOfAMappingThatHasEnded) {
  std::atomic<bool> stop = false;
  std::jthread teller([&] {
    while (!stop) poison();
  });
  for (int i = 0; i < 3000; ++i) {
    const uint64_t mapping = map();
    must(device_.handles().end_claim(file_, ReferenceKind::kMapping, mapping));
    while (const auto event = device_.handles().events().read(file_)) {
      ASSERT_NE(event->id, mapping) << i;
    }
  }
  stop = true;
}

}  // namespace
}  // namespace pmemd
