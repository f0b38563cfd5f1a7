// Who gets the right to operate on a device, and who only to look at it.
#include "core/device/device_table.h"

#include <gtest/gtest.h>

#include <type_traits>
#include <utility>

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

TEST_F(DeviceTableTest, DestroyedOnesAreEnoentToWhoFoundThemBefore) {
  must(table_.load());
  const auto device = must(table_.find("namespace0.0"));
  table_.remove(device);
  EXPECT_EQ(table_.begin_operation({device}).err(), ENOENT);
  EXPECT_TRUE(must(table_.begin_operation_on_region(0)).devices.empty());
}

}  // namespace
}  // namespace pmemd
