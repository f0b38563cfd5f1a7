// Errors that wait: which access sets them off, and what is left of them.
#include "core/poison/armed_errors.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "tests/unit/media/remembering_observer.h"
#include "tests/unit/poison/failure_fixture.h"

namespace pmemd {
namespace {

class ArmedErrorsTest : public FailureFixture {
 protected:
  static constexpr DataRange kPage = {8192, 12288};

  ArmedError of_fsdax(DataRange range = kPage) {
    return {.device_ino = fsdax_.root_ino(),
            .ranges = {range},
            .options = {.saturate = true},
            .on = std::nullopt,
            .nth = 1,
            .after = std::nullopt};
  }
  bool is_bad(DataRange range = kPage) {
    return fsdax_.memory().media_errors().value()->is_bad(
        fsdax_.record().of_namespace().in_region(range));
  }
  void touch(MediaAccess access, DataRange range = {8192, 8193}) {
    armed_.on_access(fsdax_.root_ino(), range, access);
  }

  RememberingObserver findings_;
  Worker worker_{"worker"};
  ArmedErrors armed_{ports_, findings_, worker_};
};

TEST_F(ArmedErrorsTest, GoOffAtTheNthAccessThatTouchesThemAndOnce) {
  ArmedError error = of_fsdax();
  error.nth = 3;
  must(armed_.arm(error));
  touch(MediaAccess::kRead);
  touch(MediaAccess::kWrite, {8191, 8193});
  touch(MediaAccess::kRead, {0, 8192});  // beside it
  touch(MediaAccess::kRead, {12288, 1 << 20});
  armed_.on_access(devdax_.root_ino(), kPage, MediaAccess::kRead);  // another device's
  EXPECT_FALSE(is_bad());
  EXPECT_EQ(armed_.list(fsdax_).at(0).nth, 1);
  touch(MediaAccess::kRead);
  EXPECT_TRUE(is_bad()) << "before the read goes on";
  EXPECT_EQ(findings_.latent_ranges(), std::vector<DataRange>({kPage}));
  EXPECT_TRUE(armed_.list(fsdax_).empty());
  must(fsdax_.memory().media_errors().value()->clear(
      {fsdax_.record().of_namespace().in_region(kPage)}));
  touch(MediaAccess::kRead);
  EXPECT_FALSE(is_bad());
}

TEST_F(ArmedErrorsTest, CountOnlyTheAccessesThatAreMeant) {
  for (const MediaAccess on : {MediaAccess::kRead, MediaAccess::kWrite, MediaAccess::kWriteback}) {
    ArmedError error = of_fsdax();
    error.on = on;
    must(armed_.arm(error));
    for (const MediaAccess other :
         {MediaAccess::kRead, MediaAccess::kWrite, MediaAccess::kWriteback}) {
      if (other != on) touch(other);
    }
    EXPECT_FALSE(is_bad());
    touch(on);
    EXPECT_TRUE(is_bad());
    must(fsdax_.memory().media_errors().value()->clear(
        {fsdax_.record().of_namespace().in_region(kPage)}));
  }
}

TEST_F(ArmedErrorsTest, ThatNobodyIsToldOfStayLatent) {
  ArmedError error = of_fsdax();
  error.options.latent = true;
  must(armed_.arm(error));
  touch(MediaAccess::kWrite);
  EXPECT_TRUE(is_bad());
  EXPECT_TRUE(findings_.latent.empty());
}

// With a clear unit that is smaller than a block: as much of it as of one that is injected now.
TEST_F(ArmedErrorsTest, CoverWhatAnErrorOfNowCovers) {
  must(pool_.pool().set_settings(fsdax_.record().serial, {{"clear-unit", "256"}}));
  fsdax_.memory().apply_settings();
  for (const bool saturate : {false, true}) {
    ArmedError error = of_fsdax();
    error.options = {.latent = true, .saturate = saturate};
    must(inject_error(fsdax_, {kPage}, error.options, ports_));
    const auto now = fsdax_.memory().errors(DeviceMemory::ErrorKind::kInjected, kPage);
    EXPECT_EQ(now.size(), saturate ? 1 : kPage.length() / kSectorSize);
    must(fsdax_.memory().media_errors().value()->clear(
        {fsdax_.record().of_namespace().in_region(kPage)}));
    must(armed_.arm(error));
    touch(MediaAccess::kRead);
    EXPECT_EQ(fsdax_.memory().errors(DeviceMemory::ErrorKind::kInjected, kPage), now);
    must(fsdax_.memory().media_errors().value()->clear(
        {fsdax_.record().of_namespace().in_region(kPage)}));
  }
}

TEST_F(ArmedErrorsTest, GoOffAfterTheirTime) {
  ArmedError never = of_fsdax({0, 512});
  never.after = std::chrono::hours(1);
  must(armed_.arm(never));
  ArmedError soon = of_fsdax();
  soon.after = std::chrono::milliseconds(1);
  must(armed_.arm(soon));
  const Deadline deadline = deadline_after(std::chrono::seconds(20));
  while (!is_bad() && Clock::now() < deadline) std::this_thread::yield();
  EXPECT_TRUE(is_bad());
  EXPECT_FALSE(is_bad({0, 512}));
  touch(MediaAccess::kRead, {0, 512});
  EXPECT_FALSE(is_bad({0, 512})) << "that one waits for no access";
  EXPECT_EQ(armed_.list(fsdax_).size(), 1);
}

TEST_F(ArmedErrorsTest, AreDisarmedByRange) {
  must(armed_.arm(of_fsdax()));
  must(armed_.arm(of_fsdax({0, 512})));
  EXPECT_EQ(armed_.disarm(devdax_, {kPage}), 0);
  EXPECT_EQ(armed_.disarm(fsdax_, {{12287, 20000}}), 1);
  touch(MediaAccess::kRead);
  EXPECT_FALSE(is_bad());
  EXPECT_EQ(armed_.list(fsdax_).size(), 1);
}

TEST_F(ArmedErrorsTest, AreBounded) {
  ArmedError nothing = of_fsdax();
  nothing.ranges.clear();
  EXPECT_EQ(armed_.arm(nothing).err(), EINVAL);
  ArmedError at_none = of_fsdax();
  at_none.nth = 0;
  EXPECT_EQ(armed_.arm(at_none).err(), EINVAL);
  for (size_t i = 0; i < ArmedErrors::kMaxArmed; ++i) must(armed_.arm(of_fsdax()));
  EXPECT_EQ(armed_.arm(of_fsdax()).err(), ENOSPC);
}

}  // namespace
}  // namespace pmemd
