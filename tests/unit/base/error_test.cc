#include "core/base/error.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace pmemd {
namespace {

TEST(Error, CodeAloneDescribesItselfByTheErrno) {
  const Result<int> result = fail(ENOSPC);
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.err(), ENOSPC);
  EXPECT_EQ(result.error().code, std::errc::no_space_on_device);
  EXPECT_EQ(result.error().describe(), std::generic_category().message(ENOSPC));
}

TEST(Error, MessageAndHintAreDescribedTogether) {
  EXPECT_EQ(fail(EBUSY, "pool: in use").error().describe(), "pool: in use");
  EXPECT_EQ(fail(EBUSY, "pool: in use", "stop it").error().describe(), "pool: in use (stop it)");
}

TEST(Error, HintWithoutMessageFollowsTheErrno) {
  const Error error = fail(EIO, "", "look at dmesg").error();
  EXPECT_EQ(error.describe(), std::generic_category().message(EIO) + " (look at dmesg)");
}

TEST(Error, FailErrnoTakesTheErrnoOfTheMoment) {
  errno = EACCES;
  const Error error = fail_errno("/pool/lock", "be root").error();
  EXPECT_EQ(error.err(), EACCES);
  EXPECT_EQ(error.message, "/pool/lock: " + std::generic_category().message(EACCES));
  EXPECT_EQ(error.hint, "be root");
}

TEST(Result, ErrIsZeroForAValue) {
  EXPECT_EQ(Result<int>(7).err(), 0);
  EXPECT_EQ(Result<void>().err(), 0);
}

TEST(Result, VoidCarriesAnError) {
  const Result<void> result = fail(EPERM);
  EXPECT_FALSE(result);
  EXPECT_EQ(result.err(), EPERM);
}

Result<std::unique_ptr<int>> make(bool good) {
  if (!good) return fail(ENOENT, "nothing there");
  return std::make_unique<int>(5);
}

Result<int> twice(bool first, bool second, int& reached) {
  PMEMD_ASSIGN(const auto a, make(first));
  reached = 1;
  PMEMD_ASSIGN(auto b, make(second));
  reached = 2;
  b = std::make_unique<int>(*b + 1);
  return *a + *b;
}

TEST(Result, AssignMovesTheValueOrLeavesWithTheError) {
  int reached = 0;
  EXPECT_EQ(twice(true, true, reached).value(), 11);
  EXPECT_EQ(reached, 2);
  reached = 0;
  EXPECT_EQ(twice(false, true, reached).err(), ENOENT);
  EXPECT_EQ(reached, 0);
  EXPECT_EQ(twice(true, false, reached).error().message, "nothing there");
  EXPECT_EQ(reached, 1);
}

Result<std::string> try_all(int failing, int& calls) {
  for (int i = 0; i < 3; ++i) {
    ++calls;
    PMEMD_TRY((i == failing ? Result<void>(fail(ERANGE, "third")) : Result<void>()));
  }
  return "done";
}

TEST(Result, TryLeavesAtTheFirstErrorAndEvaluatesOnce) {
  int calls = 0;
  EXPECT_EQ(try_all(-1, calls).value(), "done");
  EXPECT_EQ(calls, 3);
  calls = 0;
  EXPECT_EQ(try_all(1, calls).err(), ERANGE);
  EXPECT_EQ(calls, 2);
}

}  // namespace
}  // namespace pmemd
