// Removal of private and p2p namespaces: pages come back, buffers are waited for or taken.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "core/base/fault.h"
#include "core/device/p2p_pool.h"
#include "core/removal/p2p_return.h"
#include "core/removal/removal.h"
#include "tests/unit/removal/removal_fixture.h"

namespace pmemd {
namespace {

constexpr uint64_t kHandle = 77;
constexpr pid_t kNobody = 1 << 23;

class RemovalMemoryTest : public RemovalFixture {
 protected:
  RemovalMemoryTest() {
    must(private_->enable());
    must(p2p_->enable());
  }
  ~RemovalMemoryTest() override {
    FaultPoint::disarm_all();
    kernel_.on_event = nullptr;
    kernel_.on_inval = nullptr;
    RemovalOptions options = forced();
    options.surprise = true;
    options.drain_timeout = std::chrono::seconds(30);
    for (Device* device : {private_.get(), p2p_.get()}) {
      if (device->state() == State::kDisabled) continue;
      EXPECT_TRUE(remove({device}, options).result);
    }
  }

  std::unique_ptr<Device> make(NamespaceMode mode) {
    const auto region = must(pool_.pool().create_region(DevicePool::kSize, Reservation::kSparse));
    return pool_.make_device(must(pool_.pool().create_namespace(
        {.region = region.id, .mode = mode, .size_bytes = std::nullopt})));
  }
  static void store(const Device::Request& request, uint64_t page, uint64_t value) {
    must(request.device().content().write(request, request.device().root_ino(), page * kPageSize,
                                          std::as_bytes(std::span(&value, 1)),
                                          Media::Writer::kProgram));
  }
  static uint64_t load(const Device::Request& request, uint64_t page) {
    uint64_t value = 0;
    const auto bytes = must(request.device().content().read(
        request, request.device().root_ino(), FileRange::sized(page * kPageSize, sizeof(value)),
        Media::Reader::kProgram, Atime::kKeep));
    std::memcpy(&value, bytes.copy.data(), sizeof(value));
    return value;
  }
  // Pages of numbers, on the device.
  void fill_and_migrate(uint64_t pages) {
    const auto request = must(private_->admit(Admission::kRequest));
    for (uint64_t page = 0; page < pages; ++page) store(request, page, page + 1);
    const auto take_away = [] { return Result<void>(); };
    ASSERT_EQ(
        must(private_->content().given().migrate_to_device({0, pages * kPageSize}, take_away)),
        pages);
  }
  void expect_numbers(uint64_t pages) {
    const auto request = must(private_->admit(Admission::kRead, {}));
    for (uint64_t page = 0; page < pages; ++page) ASSERT_EQ(load(request, page), page + 1);
  }
  FileRange alloc(uint64_t pages) {
    return must(p2p_->content().given().alloc(kHandle, kNobody, pages * kPageSize));
  }

  std::unique_ptr<Device> private_ = make(NamespaceMode::kPrivate);
  std::unique_ptr<Device> p2p_ = make(NamespaceMode::kP2p);
};

TEST_F(RemovalMemoryTest, PrivatePagesComeBackAndTheFileGoesOn) {
  fill_and_migrate(100);
  EXPECT_EQ(private_->references().held(), 100u);
  EXPECT_EQ(private_->references().list(9).count(ReferenceKind::kPage), 100u);
  const auto outcome = remove({private_.get()}, forced());
  ASSERT_TRUE(outcome.result) << outcome.result.error().describe();
  EXPECT_EQ(outcome.reports.at(0).pages_migrated, 100u);
  EXPECT_FALSE(outcome.reports.at(0).hits_mappings);
  EXPECT_EQ(private_->state(), State::kDisabled);
  EXPECT_EQ(private_->admit(Admission::kRequest).err(), ENXIO) << "what migrates";
  EXPECT_EQ(private_->handles().add({}).err(), ENXIO);
  expect_numbers(100);
  EXPECT_EQ(kernel_.calls("inval") + kernel_.calls("flush"), 0u) << "nothing is taken away";
  must(private_->enable());
  expect_numbers(100);
  fill_and_migrate(3);
}

TEST_F(RemovalMemoryTest, PrivateMemoryOfANamespaceThatWasNeverEnabledIsENXIO) {
  const auto fresh = make(NamespaceMode::kPrivate);
  EXPECT_EQ(fresh->admit(Admission::kRead, {}).err(), ENXIO);
}

// Like running out of memory in the middle: it is told, and the device stays as it was.
TEST_F(RemovalMemoryTest, PagesThatCannotComeBackInTimeKeepTheDevice) {
  fill_and_migrate(1000);
  RemovalOptions options = forced();
  options.drain_timeout = std::chrono::milliseconds(0);
  const auto outcome = remove({private_.get()}, options);
  EXPECT_EQ(outcome.result.err(), ETIMEDOUT);
  expect_live(*private_);
  EXPECT_EQ(private_->references().unaccounted(), 0u);
  expect_numbers(1000);
}

TEST_F(RemovalMemoryTest, PrivateAndP2pAreNotPinned) {
  for (Device* device : {private_.get(), p2p_.get()}) {
    const uint64_t handle = must(device->handles().add({.ino = device->root_ino()}));
    EXPECT_EQ(device->handles().pin(handle, kNobody, {0, kPageSize}).err(), EOPNOTSUPP);
    device->handles().remove(handle);
  }
}

TEST_F(RemovalMemoryTest, WithoutForceABufferIsNamed) {
  const uint64_t handle = must(p2p_->handles().add({.ino = p2p_->root_ino()}));
  const FileRange range = must(p2p_->content().given().alloc(handle, kNobody, kPageSize));
  const auto outcome = remove({p2p_.get()}, {});
  EXPECT_EQ(outcome.result.err(), EBUSY);
  const auto& in_the_way = outcome.reports.at(0).in_the_way;
  ASSERT_EQ(in_the_way.size(), 1u);
  EXPECT_EQ(in_the_way[0].kind, ReferenceKind::kBuffer);
  EXPECT_EQ(in_the_way[0].range, range);
  EXPECT_EQ(in_the_way[0].pid, kNobody);
  p2p_->handles().remove(handle);
  must(return_buffers(*p2p_, kernel_, Clock::now()));
  EXPECT_TRUE(remove({p2p_.get()}, {}).result) << "it went with its handle";
}

TEST_F(RemovalMemoryTest, ABufferThatStaysHoldsARemovalUpAndWorksMeanwhile) {
  const FileRange range = alloc(2);
  kernel_.on_event = [&](const Event& event) {
    if (event.kind != EventKind::kPreRemove) return;
    EXPECT_TRUE(p2p_->admit(Admission::kRead, {.ino = p2p_->root_ino(), .range = range}));
    EXPECT_EQ(p2p_->admit(Admission::kRead,
                          {.ino = p2p_->root_ino(), .range = {range.end, range.end + 1}})
                  .err(),
              ENXIO);
    EXPECT_EQ(p2p_->content().given().alloc(kHandle, kNobody, kPageSize).err(), ENXIO);
  };
  const auto outcome = remove({p2p_.get()}, forced());
  EXPECT_EQ(outcome.result.err(), ETIMEDOUT);
  EXPECT_NE(outcome.result.error().message.find("1 buffer"), std::string::npos);
  ASSERT_EQ(outcome.reports.at(0).in_the_way.size(), 1u);
  EXPECT_EQ(outcome.reports.at(0).in_the_way[0].kind, ReferenceKind::kBuffer);
  expect_live(*p2p_);
  EXPECT_TRUE(p2p_->content().given().returning().empty());
  EXPECT_EQ(p2p_->references().unaccounted(), 0u);
}

TEST_F(RemovalMemoryTest, ForceWaitsForTheLastBuffer) {
  const FileRange range = alloc(2);
  RemovalOptions options = forced();
  options.drain_timeout = std::chrono::seconds(30);
  std::thread user;
  kernel_.on_event = [&](const Event& event) {
    if (event.kind != EventKind::kPreRemove) return;
    user = std::thread([&] {
      must(p2p_->content().given().begin_return(kHandle, range.begin));
      for (const P2pBuffer& buffer : p2p_->content().given().returning()) {
        must(p2p_->content().given().finish_return(buffer.id));
      }
    });
  };
  const auto outcome = remove({p2p_.get()}, options);
  user.join();
  EXPECT_TRUE(outcome.result) << outcome.result.error().describe();
  EXPECT_EQ(outcome.reports.at(0).buffers_taken, 0u);
}

TEST_F(RemovalMemoryTest, SurpriseAndAbandonTakeBuffers) {
  for (const bool surprise : {true, false}) {
    alloc(2);
    lend(*p2p_, kRootIndex, {0, 2 * kPageSize});
    RemovalOptions options = forced();
    options.surprise = surprise;
    options.abandon = !surprise;
    const auto outcome = remove({p2p_.get()}, options);
    ASSERT_TRUE(outcome.result) << outcome.result.error().describe();
    EXPECT_EQ(outcome.reports.at(0).buffers_taken, 1u);
    EXPECT_EQ(outcome.reports.at(0).abandoned, 0u) << "it was returned, not given up";
    EXPECT_EQ(p2p_->content().given().buffers(), 0u);
    must(p2p_->enable());
    const FileRange all = alloc(p2p_->record().data_bytes() / kPageSize);
    must(p2p_->content().given().begin_return(kHandle, all.begin));
    must(return_buffers(*p2p_, kernel_, Clock::now()));
  }
}

TEST_F(RemovalMemoryTest, ReturningDropsTheirPagesFirstAndLeavesTheOthers) {
  alloc(1);
  const FileRange second = alloc(1);
  must(p2p_->content().given().begin_return(kHandle, second.begin));
  kernel_.on_inval = [&](uint64_t ino) -> Result<void> {
    EXPECT_EQ(ino, p2p_->root_ino());
    EXPECT_EQ(p2p_->content().given().returning().size(), 1u)
        << "not free before its pages are gone";
    return {};
  };
  must(return_buffers(*p2p_, kernel_, Clock::now()));
  EXPECT_EQ(p2p_->content().given().buffers(), 1u);
  EXPECT_EQ(kernel_.calls("inval"), 1u);
}

TEST_F(RemovalMemoryTest, AnInvalThatFailsLeavesTheBufferReturning) {
  const FileRange range = alloc(1);
  must(p2p_->content().given().begin_return(kHandle, range.begin));
  kernel_.on_inval = [](uint64_t) -> Result<void> { return fail(EIO); };
  EXPECT_EQ(return_buffers(*p2p_, kernel_, Clock::now()).err(), EIO);
  EXPECT_EQ(p2p_->content().given().returning().size(), 1u);
  kernel_.on_inval = [](uint64_t) -> Result<void> { return fail(ENOENT); };
  EXPECT_TRUE(return_buffers(*p2p_, kernel_, Clock::now())) << "the kernel doesn't know the file";
}

// A direct READ may be under way with the buffer's bytes: the inval doesn't wait for it.
TEST_F(RemovalMemoryTest, ABufferIsNotFreeBeforeRequestsOfBeforeHaveEnded) {
  const FileRange range = alloc(1);
  {
    const auto request =
        must(p2p_->admit(Admission::kRead, {.ino = p2p_->root_ino(), .range = range}));
    must(p2p_->content().given().begin_return(kHandle, range.begin));
    EXPECT_EQ(return_buffers(*p2p_, kernel_, Clock::now()).err(), ETIMEDOUT);
    EXPECT_EQ(p2p_->content().given().returning().size(), 1u);
  }
  EXPECT_TRUE(return_buffers(*p2p_, kernel_, Clock::now()));
}

// As RemovalFaultTest, with pages and buffers out.
TEST_F(RemovalMemoryTest, EveryStepOfARemovalWithPagesAndBuffersOut) {
  std::vector<std::string> points;
  for (const auto& info : FaultPoint::list()) {
    const std::string name(info.name);
    const bool is_leak = name == "release.leak";
    if ((name.starts_with("disable.") || name.starts_with("revoke.") ||
         name.starts_with("release.")) &&
        !is_leak) {
      points.push_back(name);
    }
  }
  for (const std::string& point : points) {
    SCOPED_TRACE(point);
    fill_and_migrate(40);
    alloc(3);
    lend(*p2p_, kRootIndex, {0, kPageSize});
    must(FaultPoint::arm(point, {}));
    RemovalOptions options = forced();
    options.surprise = true;
    options.drain_timeout = std::chrono::seconds(30);
    EXPECT_EQ(remove({private_.get(), p2p_.get()}, options).result.err(), EIO);
    FaultPoint::disarm_all();
    for (Device* device : {private_.get(), p2p_.get()}) {
      EXPECT_EQ(device->references().unaccounted(), 0u);
      if (device->state() == State::kDisabled) must(device->enable());
      expect_live(*device);
    }
    expect_numbers(40);
    EXPECT_TRUE(p2p_->content().given().returning().empty()) << "taken, and neither out nor free";
    const auto again = remove({private_.get(), p2p_.get()}, options);
    EXPECT_TRUE(again.result) << again.result.error().describe();
    must(private_->enable());
    must(p2p_->enable());
  }
}

TEST_F(RemovalMemoryTest, EveryStepOfEnabling) {
  for (const auto& info : FaultPoint::list()) {
    const std::string name(info.name);
    if (!name.starts_with("enable.") || name == "enable.format" || name == "enable.mount") continue;
    SCOPED_TRACE(name);
    for (Device* device : {private_.get(), p2p_.get()}) {
      must(remove({device}, forced()).result);
      must(FaultPoint::arm(name, {}));
      EXPECT_EQ(device->enable().err(), EIO);
      EXPECT_EQ(device->state(), State::kDisabled);
      ASSERT_TRUE(device->enable());
      expect_live(*device);
    }
  }
}

// After a kill of the daemon the image holds what buffers held: nobody may see it.
TEST_F(RemovalMemoryTest, WhatAKilledDaemonLeftIsZeroedByTheNextEnable) {
  must(remove({p2p_.get()}, forced()).result);
  const auto image = must(pool_.pool().map_namespace(p2p_->record().of_namespace()));
  const std::array<std::byte, 4> old{std::byte{1}, std::byte{2}};
  must(image->write(kNamespaceMetadataSize, old));
  must(pool_.pool().set_clean(p2p_->record().serial, false));
  must(p2p_->enable());
  const FileRange range = alloc(1);
  ASSERT_EQ(range.begin, 0u);
  std::array<std::byte, 4> found{std::byte{9}};
  must(image->read(kNamespaceMetadataSize, found));
  EXPECT_EQ(found, (std::array<std::byte, 4>{}));
}

}  // namespace
}  // namespace pmemd
