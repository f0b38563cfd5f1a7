// Scrubs: what they find, whom they tell, and how they end.
#include "core/poison/scrub.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <span>
#include <string>
#include <thread>

#include "core/base/fault.h"
#include "tests/unit/poison/failure_fixture.h"

namespace pmemd {
namespace {

class Scrub : public FailureFixture {
 protected:
  MediaErrors& errors() { return *fsdax_.memory().media_errors().value(); }  // of region0
  RegionRange all() { return {0, 1 * kGiB}; }
  void make_latent(RegionRange range) { must(errors().inject({range}, {})); }
  // The one scrub's state, when it has ended.
  ScrubStatus wait(const Scrubber& scrubber) {
    MutexLock lock(mutex_);
    const Deadline deadline = deadline_after(std::chrono::seconds(20));
    while (true) {
      const auto status = scrubber.status();
      if (status.empty() || !status[0].running) return status.empty() ? ScrubStatus() : status[0];
      if (!progress_cv_.wait_until(mutex_, deadline)) {
        ADD_FAILURE() << "it has not ended";
        return status[0];
      }
    }
  }
  void on_progress() {
    MutexLock lock(mutex_);
    progress_cv_.notify_all();
  }
  std::vector<std::string> scrub_events() {
    std::vector<std::string> names;
    for (const Event& event : kernel_.events()) {
      if (event.kind == EventKind::kScrub) names.push_back(event.name_of_namespace);
    }
    return names;
  }

  Scrubber::Ports scrub_ports_{
      [this](uint32_t region) { return pool_.pool().media_errors(region); },
      [this](uint32_t region) {
        return std::vector<std::shared_ptr<Device>>{shared(region == 0 ? fsdax_ : devdax_)};
      },
      [this] { on_progress(); }};
  Mutex mutex_;
  CondVar progress_cv_;
  Worker worker_{"worker"};
};

TEST_F(Scrub, FindsWhatIsLatentAndTellsItAsAFailure) {
  make_latent(fsdax_.record().of_namespace().in_region({kPageSize, kPageSize + 512}));
  make_latent({4096, 4608});  // of no data area: metadata
  kernel_.forget_log();
  Scrubber scrubber(ports_, scrub_ports_, worker_);
  const auto begun = must(scrubber.start(0, all(), 0));
  EXPECT_TRUE(begun.running);
  const ScrubStatus status = wait(scrubber);
  EXPECT_FALSE(status.running);
  EXPECT_EQ(status.range, all());
  EXPECT_EQ(status.done_bytes, all().length());
  EXPECT_EQ(status.found_bytes, 1024);
  EXPECT_EQ(status.failed, 0);
  EXPECT_TRUE(errors().latent(all()).empty());
  ASSERT_FALSE(kernel_.events().empty());
  EXPECT_EQ(kernel_.events().front().kind, EventKind::kPoison);
  EXPECT_EQ(kernel_.events().front().name_of_namespace, "namespace0.0");
  EXPECT_EQ(kernel_.events().front().range, (DataRange{kPageSize, kPageSize + 512}));
  EXPECT_THAT(scrub_events(), testing::ElementsAre("namespace0.0"));
}

TEST_F(Scrub, LooksNowhereElse) {
  const uint64_t begin = fsdax_.record().of_namespace().in_region({0, 0}).begin;
  make_latent({begin, begin + 512});
  make_latent({begin + 8192, begin + 8192 + 512});
  Scrubber scrubber(ports_, scrub_ports_, worker_);
  must(scrubber.start(0, {begin + 4096, begin + 8192}, 0));
  EXPECT_EQ(wait(scrubber).found_bytes, 0);
  EXPECT_EQ(errors().latent(all()).size(), 2);
  must(scrubber.start(0, {begin + 4096, begin + 8192 + 512}, 0));
  EXPECT_EQ(wait(scrubber).found_bytes, 512);
  EXPECT_EQ(errors().latent(all()), std::vector<RegionRange>({{begin, begin + 512}}));
}

// A step of a slow one lies behind, or before, all that a namespace has.
TEST_F(Scrub, FindsWhatLiesBehindANamespace) {
  const uint64_t end =
      fsdax_.record().of_namespace().in_region({0, fsdax_.record().data_bytes()}).end;
  make_latent({end, end + 512});
  make_latent({0, 512});
  Scrubber scrubber(ports_, scrub_ports_, worker_);
  for (const uint64_t begin : {end, uint64_t{0}}) {
    must(scrubber.start(0, {begin, begin + 4096}, 0));
    const ScrubStatus status = wait(scrubber);
    EXPECT_FALSE(status.running);
    EXPECT_EQ(status.failed, 0);
  }
  EXPECT_TRUE(errors().latent(all()).empty()) << "it is known now";
}

TEST_F(Scrub, OneARegionAndNoneOfNothing) {
  Scrubber scrubber(ports_, scrub_ports_, worker_);
  EXPECT_EQ(scrubber.start(0, {4096, 4096}, 0).err(), EINVAL);
  must(scrubber.start(0, all(), 1));  // a byte a second
  const auto second = scrubber.start(0, all(), 0);
  EXPECT_EQ(second.err(), EBUSY);
  EXPECT_EQ(scrubber.status().size(), 1);
  EXPECT_TRUE(scrubber.status()[0].running);
  EXPECT_LE(scrubber.status()[0].done_bytes, 512);
  // Another region's doesn't wait for it; and the end waits for neither.
  must(scrubber.start(1, {0, 4096}, 0));
  MutexLock lock(mutex_);
  while (scrubber.status()[1].running) progress_cv_.wait(mutex_);
}

TEST_F(Scrub, EndsWithItsRegionAndAnotherOfItsIdBeginsAnew) {
  Scrubber scrubber(ports_, scrub_ports_, worker_);
  EXPECT_EQ(scrubber.start(7, {0, 4096}, 0).err(), ENOENT);
  must(scrubber.start(0, all(), 1));
  must(scrubber.start(1, {0, 4096}, 1));
  scrubber.forget(0);
  scrubber.forget(0);
  ASSERT_EQ(scrubber.status().size(), 1);
  EXPECT_EQ(scrubber.status()[0].region, 1);
  must(scrubber.start(0, all(), 0));
  EXPECT_EQ(wait(scrubber).done_bytes, all().length());
}

// A step of the one that was forgotten isn't one of that which came then.
TEST_F(Scrub, AStepThatIsUnderWayWhenItIsForgottenCountsNowhere) {
  make_latent(fsdax_.record().of_namespace().in_region({kPageSize, kPageSize + 512}));
  std::atomic<Scrubber*> scrubber = nullptr;
  std::atomic<int> asked = 0;
  Scrubber::Ports ports = scrub_ports_;
  ports.devices_of = [&](uint32_t region) {
    if (++asked == 1) {
      scrubber.load()->forget(region);
      EXPECT_TRUE(scrubber.load()->start(region, {0, 4096}, 1));
    }
    return scrub_ports_.devices_of(region);
  };
  Scrubber real(ports_, ports, worker_);
  scrubber = &real;
  must(real.start(0, all(), 0));
  while (asked == 0) std::this_thread::yield();
  MutexLock lock(mutex_);
  const Deadline deadline = deadline_after(std::chrono::seconds(20));
  while (!errors().latent(all()).empty()) ASSERT_TRUE(progress_cv_.wait_until(mutex_, deadline));
  ASSERT_EQ(real.status().size(), 1);
  EXPECT_EQ(real.status()[0].range, (RegionRange{0, 4096}));
  EXPECT_LE(real.status()[0].done_bytes, 512);
  EXPECT_EQ(real.status()[0].found_bytes, 0);
  EXPECT_TRUE(real.status()[0].running);
}

TEST_F(Scrub, GoesInStepsAtItsRate) {
  Scrubber scrubber(ports_, scrub_ports_, worker_);
  uint64_t steps = 0, last = 0;
  const uint64_t rate = 64 * kMiB;
  must(scrubber.start(0, {0, 8 * kMiB}, rate));  // 1/8 s
  {
    MutexLock lock(mutex_);
    while (scrubber.status()[0].running) {
      progress_cv_.wait(mutex_);
      const uint64_t done = scrubber.status()[0].done_bytes;
      if (done != last) ++steps;
      EXPECT_LE(done - last, 2 * rate / 20);
      last = done;
    }
  }
  EXPECT_GE(steps, 2);
  EXPECT_EQ(last, 8 * kMiB);
}

TEST_F(Scrub, WhatFailsIsCountedAndStaysLatent) {
  make_latent(fsdax_.record().of_namespace().in_region({0, 512}));
  ASSERT_TRUE(FaultPoint::arm("media.write-record", {.count = 1'000}));
  Scrubber scrubber(ports_, scrub_ports_, worker_);
  must(scrubber.start(0, all(), 0));
  const ScrubStatus status = wait(scrubber);
  EXPECT_GE(status.failed, 1);
  EXPECT_EQ(status.found_bytes, 0);
  EXPECT_EQ(errors().latent(all()).size(), 1);
  FaultPoint::disarm_all();
  must(scrubber.start(0, all(), 0));
  EXPECT_EQ(wait(scrubber).found_bytes, 512);
}

}  // namespace
}  // namespace pmemd
