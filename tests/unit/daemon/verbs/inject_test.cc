// The verbs that make memory bad, without a kernel.
#include <gtest/gtest.h>

#include <optional>

#include "core/base/memory.h"
#include "core/base/units.h"
#include "core/poison/armed_errors.h"
#include "core/pool/media_errors.h"
#include "daemon/verbs/verbs.h"
#include "tests/unit/daemon/verbs/verbs_machine.h"
#include "tests/unit/failing_allocation.h"
#include "tests/unit/media/remembering_observer.h"

namespace pmemd::test {
namespace {

TEST(InjectedErrors, ListHasALimitAndCountsWhatItLeavesOut) {
  constexpr uint64_t kListed = 65'536;
  constexpr uint64_t kInjected = kListed + 3;
  VerbsMachine machine;
  const auto region = machine.call("CreateRegion", {{"size", 128 * kMiB}, {"sparse", true}});
  ASSERT_EQ(region.err, 0) << region.message;
  const auto created = machine.call("CreateNamespace", {{"region", "region6"}});
  ASSERT_EQ(created.err, 0) << created.message;

  const DevicePtr device = *machine.machine().devices.find("namespace6.0");
  std::vector<RegionRange> sectors;
  for (uint64_t i = 0; i < kInjected; ++i) {
    const uint64_t begin = 2 * i * kSectorSize;
    sectors.push_back(device->record().of_namespace().in_region({begin, begin + kSectorSize}));
  }
  ASSERT_EQ(device->memory().media_errors().value()->inject(sectors, {}).err(), 0);

  const auto reply = machine.call("InjectedErrors", {{"namespace", "namespace6.0"}});
  ASSERT_EQ(reply.err, 0) << reply.message;
  const Json& blocks = reply.parameters.at("badblocks");
  ASSERT_EQ(blocks.size(), kListed);
  EXPECT_EQ(blocks.back(), (Json{{"block", 2 * (kListed - 1)}, {"count", 1}}));
  EXPECT_EQ(reply.parameters.at("omitted"), kInjected - kListed);
}

// Until it is written back no memory of the namespace has it: it would be spared.
TEST(InjectError, OfANamespaceWritesBackFirstWhatMappingsStoredIntoHoles) {
  VerbsMachine machine;
  const uint64_t ino = machine.used_file();
  const DevicePtr device = *machine.machine().devices.find("namespace0.0");
  const Json page = {{"namespace", "namespace0.0"}, {"offset", 0}, {"length", 512}};
  ASSERT_EQ(machine.call("InjectError", page).err, 0);
  EXPECT_EQ(machine.kernel().flushed.first, 0u) << "there is no hole";

  const FileRange hole = {4 * kPageSize, 8 * kPageSize};
  SetAttr grow;
  grow.size = hole.end;
  ASSERT_TRUE(must(device->admit(Admission::kRequest)).fs().setattr(ino, grow));
  ASSERT_TRUE(device->leases().lend(ino, hole));
  ASSERT_EQ(machine.call("InjectError", page).err, 0);
  EXPECT_EQ(machine.kernel().flushed.first, ino);
  EXPECT_TRUE(machine.kernel().flushed.second.contains(hole));
}

// Each allocation of the thread that waits for the time fails, and all from it on.
TEST(ArmedErrors, GoOffAtTheirTimeWithoutMemory) {
  if (!FailingAllocation::is_possible()) GTEST_SKIP() << "operator new is a sanitizer's";
  struct NothingIsLost {
    ~NothingIsLost() { EXPECT_EQ(reserve_used_bytes(), 0u); }
  } const nothing_is_lost;
  VerbsMachine machine;
  const auto at = machine.call("InjectError", {{"file", "/pmem0/file"}, {"dry_run", true}});
  ASSERT_EQ(at.err, 0) << at.message;
  const uint64_t begin = at.parameters.at("reports").at(0).at("ranges").at(0).at("offset");
  const DevicePtr device = *machine.machine().devices.find("namespace0.0");
  const auto errors = [&](DeviceMemory::ErrorKind kind) {
    return device->memory().errors(kind, {begin, begin + kPageSize}).size();
  };

  for (const auto which : {FailingAllocation::Which::kOne, FailingAllocation::Which::kAllFrom}) {
    bool was_hit = true;
    for (uint64_t n = 1; was_hit; ++n) {
      SCOPED_TRACE(testing::Message() << "allocation " << n);
      ArmedError error = {.device_ino = device->root_ino(),
                          .ranges = {{begin, begin + kPageSize}},
                          .options = {},
                          .on = std::nullopt,
                          .nth = 1,
                          .after = std::chrono::milliseconds(0)};
      {
        RememberingObserver findings;
        std::optional<ArmedErrors> armed(std::in_place, machine.machine().failure, findings,
                                         *machine.machine().fuse.work);
        const FailingElsewhere fails(n, which);
        ASSERT_EQ(armed->arm(std::move(error)).err(), 0);
        machine.wait_until([&] { return errors(DeviceMemory::ErrorKind::kInjected) != 0; });
        armed.reset();  // waits for the worker, which has begun
        was_hit = fails.hit();
      }
      ASSERT_EQ(errors(DeviceMemory::ErrorKind::kInjected), 1);
      ASSERT_EQ(errors(DeviceMemory::ErrorKind::kKnown), 1);
      ASSERT_EQ(machine.call("UninjectError", {{"namespace", "namespace0.0"}}).err, 0);
      ASSERT_EQ(machine.call("ClearErrors", {{"namespace", "namespace0.0"}}).err, 0);
    }
  }
}

}  // namespace
}  // namespace pmemd::test
