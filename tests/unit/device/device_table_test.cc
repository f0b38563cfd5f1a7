// Who gets the right to operate on a device, and who only to look at it.
#include "core/device/device_table.h"

#include <gtest/gtest.h>

#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "tests/unit/device/device_pool.h"

namespace pmemd {
namespace {

static_assert(std::is_same_v<decltype(std::declval<const DeviceTable&>().all()),
                             std::vector<std::shared_ptr<const Device>>>);
static_assert(std::is_same_v<decltype(std::declval<const DeviceTable&>().find("")),
                             Result<std::shared_ptr<const Device>>>);

class DeviceTableTest : public testing::Test {
 protected:
  DevicePool pool_;
  DeviceTable table_{pool_.pool()};
};

TEST_F(DeviceTableTest, NobodyGetsBetweenAddAndWhoAdded) {
  const auto record = must(pool_.pool().find_namespace("namespace0.0"));
  {
    const auto taken = must(table_.add(record));
    EXPECT_EQ(table_.begin_operation(taken.devices).err(), EBUSY);
    EXPECT_EQ(table_.begin_operation_on_region(0).err(), EBUSY);
  }
  EXPECT_TRUE(table_.begin_operation({must(table_.find("namespace0.0"))}));
}

TEST_F(DeviceTableTest, WhileItStopsNothingIsAdded) {
  ASSERT_TRUE(table_.interrupt_operations(Clock::now()));
  EXPECT_EQ(table_.add(must(pool_.pool().find_namespace("namespace0.0"))).err(), ECANCELED);
  EXPECT_TRUE(table_.all().empty());
}

TEST_F(DeviceTableTest, ARegionsOperationIsOnWhatItHasThen) {
  must(table_.load());
  const auto taken = must(table_.begin_operation_on_region(1));
  ASSERT_EQ(taken.devices.size(), 1u);
  EXPECT_EQ(taken.devices[0]->record().name(), "namespace1.0");
  EXPECT_EQ(table_.begin_operation(taken.devices).err(), EBUSY);
  EXPECT_TRUE(table_.begin_operation({must(table_.find("namespace0.0"))}));
}

TEST_F(DeviceTableTest, ListsNamespacesByRegionAndVolumesLast) {
  const auto names = [](const auto& devices) {
    std::vector<std::string> found;
    for (const auto& device : devices) found.push_back(device->record().name());
    return found;
  };
  using Names = std::vector<std::string>;
  const auto make = [&] {
    const auto region = must(pool_.pool().create_region(DevicePool::kSize, Reservation::kSparse));
    return must(pool_.pool().create_namespace(
        {.region = region.id, .mode = NamespaceMode::kFsDax, .size_bytes = std::nullopt}));
  };
  must(pool_.pool().create_volume(VolumeType::kLinear, 0, {make().serial}));
  make();  // its serial is above the volume's
  must(table_.load());
  const DeviceTable& table = table_;
  const Names namespaces = {"namespace0.0", "namespace1.0", "namespace2.0", "namespace3.0"};
  EXPECT_EQ(names(table.namespaces()), namespaces);
  EXPECT_EQ(names(table.volumes()), (Names{"volume0"}));
  Names all = namespaces;
  all.emplace_back("volume0");
  EXPECT_EQ(names(table.all()), all);
  EXPECT_EQ(names(table.of_region(2)), (Names{"namespace2.0"}));
  const auto operation = must(table_.begin_operation({must(table_.find("volume0"))}));
  EXPECT_EQ(table_.begin_operation({must(table_.find("namespace2.0"))}).err(), EBUSY);
  EXPECT_TRUE(table_.begin_operation({must(table_.find("namespace1.0"))}));
}

TEST_F(DeviceTableTest, DestroyedOnesAreEnoentToWhoFoundThemBefore) {
  must(table_.load());
  const auto device = must(table_.find("namespace0.0"));
  table_.remove(device);
  EXPECT_EQ(table_.begin_operation({device}).err(), ENOENT);
  EXPECT_TRUE(must(table_.begin_operation_on_region(0)).devices.empty());
}

}  // namespace
}  // namespace pmemd
