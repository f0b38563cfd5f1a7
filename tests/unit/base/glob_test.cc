#include "core/base/glob.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace pmemd {
namespace {

TEST(Glob, NamesMatchAsAShellMatchesThem) {
  for (const auto& [pattern, name] : {std::pair("", ""),
                                      {"*", ""},
                                      {"*", "abc"},
                                      {"a*", "a"},
                                      {"*c", "abc"},
                                      {"a*c*e", "abcde"},
                                      {"a?c", "abc"},
                                      {"[a-c]1", "b1"},
                                      {"[!a-c]1", "d1"},
                                      {"[]]", "]"},
                                      {"[a-]", "-"},
                                      {"\\*", "*"},
                                      {"\\[a]", "[a]"},
                                      {"[abc", "[abc"},
                                      {"a\\", "a\\"},
                                      {"*.db", ".db"}}) {
    EXPECT_TRUE(glob_matches_name(pattern, name)) << pattern << " " << name;
  }
  for (const auto& [pattern, name] : {std::pair("", "a"),
                                      {"a", ""},
                                      {"?", ""},
                                      {"a*c", "abcd"},
                                      {"[a-c]", "d"},
                                      {"[!a-c]", "b"},
                                      {"[!a-c]", ""},
                                      {"\\*", "a"},
                                      {"abc", "abd"}}) {
    EXPECT_FALSE(glob_matches_name(pattern, name)) << pattern << " " << name;
  }
}

// The slow way: every way to split.
bool matches_slowly(std::string_view pattern, std::string_view name) {
  if (pattern.empty()) return name.empty();
  if (pattern.front() == '*') {
    for (size_t i = 0; i <= name.size(); ++i) {
      if (matches_slowly(pattern.substr(1), name.substr(i))) return true;
    }
    return false;
  }
  if (name.empty()) return false;
  if (pattern.front() != '?' && pattern.front() != name.front()) return false;
  return matches_slowly(pattern.substr(1), name.substr(1));
}

TEST(Glob, AgreesWithTheSlowWay) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  const auto text = [&](std::string_view letters) {
    std::string result(random() % 8, 'a');
    for (char& c : result) c = letters[random() % letters.size()];
    return result;
  };
  for (int i = 0; i < 20'000; ++i) {
    const std::string pattern = text("ab*?"), name = text("ab");
    ASSERT_EQ(glob_matches_name(pattern, name), matches_slowly(pattern, name))
        << pattern << " " << name;
  }
}

// What takes fnmatch(3) longer than the machine lasts.
TEST(Glob, AHostilePatternEnds) {
  std::string pattern, name(4000, 'a');
  for (int i = 0; i < 1000; ++i) pattern += "*a";
  EXPECT_FALSE(glob_matches_name(pattern + "b", name));
  EXPECT_TRUE(glob_matches_name(pattern, name));
}

TEST(Glob, PathsMatchNameByNameAndWhatLiesBelow) {
  EXPECT_TRUE(glob_matches_path("/pmem0/db/*", "/pmem0/db/a"));
  EXPECT_TRUE(glob_matches_path("/pmem0/db/*", "/pmem0/db/a/b"));
  EXPECT_FALSE(glob_matches_path("/pmem0/db/*", "/pmem0/db"));
  EXPECT_FALSE(glob_matches_path("/pmem0/*", "/pmem1/a"));
  EXPECT_TRUE(glob_matches_path("/pmem0", "/pmem0/a"));
  EXPECT_FALSE(glob_matches_path("/pmem0", "/pmem01/a"));
  EXPECT_TRUE(glob_matches_path("//pmem0/", "/pmem0"));
  EXPECT_TRUE(glob_matches_path("/", "/pmem0"));
  EXPECT_FALSE(glob_matches_path("/*/x", "/a/b/x"));
}

TEST(Glob, KnowsAPatternFromAName) {
  EXPECT_FALSE(has_wildcards("/a/b c\\*["));
  EXPECT_TRUE(has_wildcards("/a*"));
  EXPECT_TRUE(has_wildcards("?"));
  EXPECT_TRUE(has_wildcards("[a]"));
  EXPECT_EQ(without_escapes("a\\*b\\\\"), "a*b\\");
  EXPECT_EQ(without_escapes("a\\"), "a\\");
}

}  // namespace
}  // namespace pmemd
