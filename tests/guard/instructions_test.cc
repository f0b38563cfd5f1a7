// What core's operations cost, in instructions and allocations: times are for script/bench, these
// are the same in each run. A change that makes one dearer has to say so in the table below.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>

#include "tests/integration/support/harness.h"

namespace pmemd {
namespace {

struct Cost {
  double instructions = 0;
  double allocations = 0;
};

// Each, as g++ 12 makes them at -O2. SQLite's part in the last four is Debian 12's.
const std::map<std::string, Cost> kRecorded = {
    {"tryget_live_put", {49, 0}},
    {"lend_again", {302, 0}},
    {"give_back_lend", {1331, 1}},
    {"get_dev_pagemap", {305, 0}},
    {"range_set_insert_erase", {1530, 3}},
    {"fs_getattr", {532, 0}},
    {"fs_read_page", {1331, 2}},
    {"fs_read_1m", {1326, 2}},
    {"fs_overwrite_page", {2203, 2}},
    {"fs_create", {69500, 3}},
    {"fs_lookup", {22000, 0}},
    {"fs_readdir_64", {230000, 7}},
    {"fs_readdirplus_64", {630000, 7}},
};
// Other compilers and libraries: a little more, or less. What doubles is found.
constexpr double kTolerance = 1.3;

// "summary: 12345" and "desc: Trigger: Client Request: <name>" of each dump of callgrind's.
std::map<std::string, double> read_dumps(const std::string& directory) {
  std::map<std::string, double> instructions;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    std::ifstream file(entry.path());
    std::string name;
    for (std::string line; std::getline(file, line);) {
      constexpr std::string_view kTrigger = "desc: Trigger: Client Request: ";
      constexpr std::string_view kSummary = "summary: ";
      if (line.starts_with(kTrigger)) name = line.substr(kTrigger.size());
      if (line.starts_with(kSummary) && !name.empty()) {
        instructions[name] = std::stod(line.substr(kSummary.size()));
      }
    }
  }
  return instructions;
}

TEST(Instructions, OfEachOperationAreNoMoreThanRecorded) {
#if defined(__clang__) || !defined(__OPTIMIZE__) || defined(__SANITIZE_THREAD__) || \
    defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "recorded for g++ -O2";
#endif
  const TestDirectory directory(Storage::kMemory);
  const std::string dumps = directory.path() + "/dumps";
  std::filesystem::create_directory(dumps);
  std::istringstream lines(
      run_ok({"valgrind", "--tool=callgrind", "--callgrind-out-file=" + dumps + "/out", "--quiet",
              program("pmemd_test_operations")},
             {.env = {"TMPDIR=" + directory.path()}, .patience = std::chrono::seconds(100)}));
  const auto instructions = read_dumps(dumps);
  std::map<std::string, Cost> measured;
  std::string name;
  double times = 0;
  double allocations = 0;
  while (lines >> name >> times >> allocations) {
    ASSERT_TRUE(instructions.contains(name)) << name;
    measured[name] = {instructions.at(name) / times, allocations / times};
  }
  for (const auto& [operation, recorded] : kRecorded) {
    ASSERT_TRUE(measured.contains(operation)) << operation;
    const Cost& now = measured.at(operation);
    RecordProperty(operation, fmt::format("{:.1f} instructions", now.instructions));
    EXPECT_LE(now.instructions, recorded.instructions * kTolerance) << operation;
    EXPECT_GE(now.instructions, recorded.instructions / 2)
        << operation << ": so much cheaper that the table guards nothing; write it down there";
    EXPECT_LE(now.allocations, recorded.allocations + 0.05) << operation;
  }
  EXPECT_EQ(measured.size(), kRecorded.size());
}

}  // namespace
}  // namespace pmemd
