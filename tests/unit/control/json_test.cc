#include "core/control/json.h"

#include <gtest/gtest.h>

#include <new>
#include <optional>

#include "core/base/memory.h"
#include "tests/unit/failing_allocation.h"

namespace pmemd {
namespace {

class JsonWithoutMemory : public testing::Test {
 protected:
  void SetUp() override {
    if (!FailingAllocation::is_possible()) GTEST_SKIP() << "operator new is a sanitizer's";
  }
};

Json nested() {
  Json list = Json::array();
  for (int i = 0; i < 100; ++i) list.push_back({{"number", i}, {"list", {i, {{"a", "b"}}}}});
  return {{"list", std::move(list)}};
}

TEST_F(JsonWithoutMemory, IsTakenApartWithoutMemory) {
  std::optional<Json> json = nested();
  {
    const FailingAllocation all(1, FailingAllocation::Which::kAllFrom);
    json.reset();
    EXPECT_TRUE(all.hit());
  }
  EXPECT_EQ(reserve_used_bytes(), 0u);
}

// As many as a region may have errors.
TEST_F(JsonWithoutMemory, ThatIsLongIsTakenApartWithoutAnyMemory) {
  Json list = Json::array();
  for (int i = 0; i < 262'144; ++i) list.push_back({{"block", i}, {"list", {i}}});
  Json json = {{"list", std::move(list)}};
  {
    const FailingAllocation all(1, FailingAllocation::Which::kAllFrom);
    take_apart(json);
    EXPECT_FALSE(all.hit());
  }
  EXPECT_EQ(json, Json::object());
}

TEST_F(JsonWithoutMemory, OfFiftyThousandFitsTheReserve) {
  std::optional<Json> list = Json::array();
  for (int i = 0; i < 50'000; ++i) list->push_back({{"block", i}, {"count", 1}});
  {
    const FailingAllocation all(1, FailingAllocation::Which::kAllFrom);
    list.reset();
    EXPECT_TRUE(all.hit());
  }
  EXPECT_EQ(reserve_used_bytes(), 0u);
}

TEST_F(JsonWithoutMemory, IsMadeOfOrdinaryMemory) {
  const Json json = nested();
  for (uint64_t n = 1;; ++n) {
    ASSERT_LT(n, 10'000u);
    const FailingAllocation one(n);
    try {
      const Json copy = json;
      if (!one.hit()) break;
    } catch (const std::bad_alloc&) {
      continue;
    }
    ADD_FAILURE() << "allocation " << n << " is from the reserve";
    break;
  }
  EXPECT_EQ(reserve_used_bytes(), 0u);
}

TEST(Json, KeepsTheOrderOfItsKeys) {
  const Json json = {{"z", 1}, {"a", 2}};
  EXPECT_EQ(json.dump(), R"({"z":1,"a":2})");
}

}  // namespace
}  // namespace pmemd
