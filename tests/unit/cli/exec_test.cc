#include "cli/verbs/exec.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace pmemd::cli::test {
namespace {

using Words = std::vector<std::string>;

std::pair<Words, Words> split(const std::vector<const char*>& arguments) {
  const SplitArguments split =
      split_at_program(static_cast<int>(arguments.size()), arguments.data());
  return {Words(split.ours.begin(), split.ours.end()), split.program};
}

TEST(ExecArguments, WhatIsBehindTheDashesIsTheProgramsWhateverItLooksLike) {
  EXPECT_EQ(
      split({"pmemctl", "exec", "--early", "--", "ls", "--json", "--", "-l", ""}),
      std::pair(Words({"pmemctl", "exec", "--early"}), Words({"ls", "--json", "--", "-l", ""})));
  EXPECT_EQ(split({"pmemctl", "exec", "--"}), std::pair(Words({"pmemctl", "exec"}), Words()));
  EXPECT_EQ(split({"pmemctl", "exec", "ls"}), std::pair(Words({"pmemctl", "exec", "ls"}), Words()));
}

TEST(ExecArguments, OtherVerbsKeepTheirDashes) {
  const Words list = {"pmemctl", "mappers", "--", "exec"};
  EXPECT_EQ(split({"pmemctl", "mappers", "--", "exec"}), std::pair(list, Words()));
}

TEST(ExecPreload, TheShimIsFirst) {
  EXPECT_EQ(preload_with("/lib/shim.so", nullptr), "/lib/shim.so");
  EXPECT_EQ(preload_with("/lib/shim.so", ""), "/lib/shim.so");
  EXPECT_EQ(preload_with("/lib/shim.so", "a.so b.so"), "/lib/shim.so:a.so b.so");
}

}  // namespace
}  // namespace pmemd::cli::test
