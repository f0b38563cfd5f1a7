// The fuzz target's properties over its corpus, random bytes and random mutations of good messages.
// PMEMD_SEED=<n> repeats a run.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "tests/fuzz/varlink_properties.h"

namespace pmemd::test {
namespace {

std::vector<std::string> corpus() {
  std::vector<std::string> inputs;
  for (const auto& entry : std::filesystem::directory_iterator(PMEMD_FUZZ_CORPUS)) {
    std::ifstream file(entry.path(), std::ios::binary);
    inputs.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  return inputs;
}

class VarlinkFuzz : public testing::Test {
 protected:
  VarlinkFuzz() {
    const char* given = std::getenv("PMEMD_SEED");
    seed_ = given != nullptr ? std::strtoull(given, nullptr, 0) : std::random_device()();
    random_.seed(seed_);
    RecordProperty("seed", std::to_string(seed_));
    printf("seed %llu\n", static_cast<unsigned long long>(seed_));
  }
  size_t below(size_t limit) {
    return std::uniform_int_distribution<size_t>(0, limit - 1)(random_);
  }

  void mutate(std::string& input, const std::vector<std::string>& inputs) {
    const size_t at = below(input.size());
    switch (below(6)) {
      case 0:
        input[at] = static_cast<char>(below(256));
        break;
      case 1:
        input[at] = "\0\"\\{}[],:\xff"[below(10)];
        break;
      case 2:
        input.erase(at, 1 + below(16));
        break;
      case 3:
        input.insert(at, 1 + below(32), static_cast<char>(below(256)));
        break;
      case 4:
        input.insert(at, input.substr(below(input.size()), 1 + below(64)));
        break;
      default: {
        const std::string& other = inputs[below(inputs.size())];
        input.replace(at, below(64), other.substr(below(other.size()), below(256)));
      }
    }
    if (input.empty()) input = "x";
  }

  unsigned long long seed_ = 0;
  std::mt19937_64 random_;
};

TEST_F(VarlinkFuzz, CorpusHolds) {
  const auto inputs = corpus();
  EXPECT_GE(inputs.size(), 30u);
  for (const std::string& input : inputs) EXPECT_EQ(check_varlink_input(input), "") << input;
}

TEST_F(VarlinkFuzz, RandomBytesHold) {
  for (int round = 0; round < 20'000; ++round) {
    std::string input(1 + below(200), '\0');
    for (char& c : input) c = static_cast<char>(below(256));
    ASSERT_EQ(check_varlink_input(input), "") << testing::PrintToString(input);
  }
}

TEST_F(VarlinkFuzz, MutatedMessagesHold) {
  const auto inputs = corpus();
  for (int round = 0; round < 5'000; ++round) {
    std::string input = inputs[below(inputs.size())].substr(0, 4096);
    for (size_t count = 1 + below(4); count > 0; --count) mutate(input, inputs);
    ASSERT_EQ(check_varlink_input(input), "") << testing::PrintToString(input);
  }
}

}  // namespace
}  // namespace pmemd::test
