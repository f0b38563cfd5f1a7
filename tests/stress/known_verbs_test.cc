#include "tests/stress/support/known_verbs.h"

#include <gtest/gtest.h>

#include <set>

#include "core/control/interface.h"

namespace pmemd {
namespace {

// A verb that is added to the interface is to be added to verb_calls.cc.
TEST(VerbCallsTest, KnowEveryMethodOfTheInterface) {
  std::set<std::string_view> all;
  for (const Method& method : methods()) {
    if (method.interface == kInterface) all.insert(method.name);
  }
  const auto known = known_verbs();
  EXPECT_EQ(std::set<std::string_view>(known.begin(), known.end()), all);
}

}  // namespace
}  // namespace pmemd
