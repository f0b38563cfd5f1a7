// What a removal tells registered mappings, and whose answers it waits for.
#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <vector>

#include "core/base/fault.h"
#include "core/removal/removal.h"
#include "core/removal/target.h"
#include "tests/unit/let_others_fall_asleep.h"
#include "tests/unit/removal/removal_fixture.h"

namespace pmemd {
namespace {

using Kind = MapperEventKind;

class RemovalMappersTest : public RemovalFixture {
 protected:
  RemovalMappersTest() {
    file_ = must(fsdax_.handles().add({.ino = ino(fsdax_, 5), .writable = true}));
    mapping_ = must(fsdax_.handles().register_mapping(file_, 1, {4096, 12288}, 0x5000));
  }
  ~RemovalMappersTest() override {
    FaultPoint::disarm_all();
    kernel_.on_event = nullptr;
  }
  std::vector<MapperEvent> read_all(uint64_t handle) {
    std::vector<MapperEvent> all;
    while (auto event = fsdax_.handles().events().read(handle)) all.push_back(*event);
    return all;
  }
  std::vector<Kind> kinds(uint64_t handle) {
    std::vector<Kind> kinds;
    for (const MapperEvent& event : read_all(handle)) kinds.push_back(event.notice.kind);
    return kinds;
  }

  uint64_t file_ = 0;
  uint64_t mapping_ = 0;
};

TEST_F(RemovalMappersTest, TellsEachMappingBeforeAndAfterWithTheNumbersOfTheEvents) {
  kernel_.people = {holder({mapping(ino(fsdax_, 5), "/pmem0/a")})};
  ASSERT_TRUE(remove({&fsdax_}, forced()).result);
  must(fsdax_.enable());
  Target(fsdax_).tell(EventKind::kEnabled, events_);
  const auto told = read_all(file_);
  ASSERT_EQ(told.size(), 3u);
  const std::vector<Kind> expected = {Kind::kPreRemove, Kind::kRemoved, Kind::kEnabled};
  std::vector<uint64_t> numbers;
  for (const Event& event : kernel_.events()) {
    if (!event.file) numbers.push_back(event.seq);
  }
  ASSERT_EQ(numbers.size(), 3u);
  for (size_t i = 0; i < told.size(); ++i) {
    EXPECT_EQ(told[i].notice.kind, expected[i]);
    EXPECT_EQ(told[i].notice.seq, numbers[i]);
    EXPECT_EQ(told[i].notice.answer_within.count(), 0);
    EXPECT_EQ(told[i].range, (FileRange{4096, 12288}));
    EXPECT_EQ(told[i].address, 0x5000u);
    EXPECT_EQ(told[i].id, mapping_);
  }
}

TEST_F(RemovalMappersTest, MappersOfAFileSystemThatIsNotToldOrCannotTellHearNothing) {
  for (const char* setting : {"holder", "rmap"}) {
    must(pool_.pool().set_settings(fsdax_.record().serial, {{setting, "no"}}));
    Target(fsdax_).tell(EventKind::kPreRemove, events_);
    EXPECT_TRUE(read_all(file_).empty()) << setting;
    must(pool_.pool().set_settings(fsdax_.record().serial, {{setting, "yes"}}));
  }
  Target(fsdax_).tell(EventKind::kPreRemove, events_);
  EXPECT_EQ(read_all(file_).size(), 1u);
}

TEST_F(RemovalMappersTest, OneThatIsTakenBackTellsThatItStays) {
  ASSERT_TRUE(FaultPoint::arm("disable.revoke", {}));
  EXPECT_FALSE(remove({&fsdax_}, forced()).result);
  expect_live(fsdax_);
  EXPECT_EQ(kinds(file_), (std::vector<Kind>{Kind::kPreRemove, Kind::kEnabled}));
}

TEST_F(RemovalMappersTest, GraceEndsWithTheAnswerOfWhoKeepsItsFileOpen) {
  std::jthread mapper([&] {
    const Deadline deadline = deadline_after(std::chrono::seconds(20));
    std::optional<MapperEvent> event;
    while (!event && Clock::now() < deadline) {
      event = fsdax_.handles().events().read(file_);
      if (!event) std::this_thread::yield();
    }
    ASSERT_TRUE(event);
    EXPECT_EQ(event->notice.answer_within, std::chrono::minutes(10));
    let_others_fall_asleep();
    EXPECT_EQ(fsdax_.state(), State::kDying) << "its bytes are good still";
    must(fsdax_.handles().events().answer(file_, event->notice.seq, event->id,
                                          MapperEvents::Answer::kDone));
  });
  auto options = forced();
  options.grace = std::chrono::minutes(10);
  EXPECT_TRUE(remove({&fsdax_, &devdax_}, options).result);
  EXPECT_EQ(fsdax_.claims().handle_count(), 1u);
  EXPECT_EQ(fsdax_.handles().events().counts().questions, 0u);
}

TEST_F(RemovalMappersTest, GraceThatRunsOutTakesItAndTheAnswerIsTooLate) {
  auto options = forced();
  options.grace = std::chrono::milliseconds(1);
  EXPECT_TRUE(remove({&fsdax_}, options).result);
  const auto told = read_all(file_);
  ASSERT_EQ(told.size(), 2u);
  EXPECT_EQ(fsdax_.handles()
                .events()
                .answer(file_, told[0].notice.seq, told[0].id, MapperEvents::Answer::kDone)
                .err(),
            ENOENT);
}

// Its memory stays with its processes: nothing of theirs goes.
TEST_F(RemovalMappersTest, MappersOfPrivateMemoryAreNotTold) {
  const auto region = must(pool_.pool().create_region(DevicePool::kSize, Reservation::kSparse));
  const auto device = pool_.make_device(must(pool_.pool().create_namespace(
      {.region = region.id, .mode = NamespaceMode::kPrivate, .size_bytes = std::nullopt})));
  must(device->enable());
  const uint64_t handle = must(device->handles().add({.ino = device->root_ino()}));
  must(device->handles().register_mapping(handle, 1, {0, 4096}, 0));
  auto options = forced();
  options.drain_timeout = std::chrono::seconds(20);
  EXPECT_TRUE(remove({device.get()}, options).result);
  EXPECT_FALSE(device->handles().events().read(handle));
  device->handles().remove(handle);
}

}  // namespace
}  // namespace pmemd
