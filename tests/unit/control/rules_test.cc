#include "core/control/rules.h"

#include <gtest/gtest.h>

namespace pmemd {
namespace {

std::string problem(std::string_view method, const char* parameters) {
  const auto fits = check_rules(method, Json::parse(parameters));
  if (fits) return "";
  EXPECT_EQ(fits.err(), EINVAL);
  return fits.error().message;
}

TEST(Rules, OfARemoval) {
  for (const char* const method : {"DisableNamespace", "DisableRegion"}) {
    for (const char* const name : {"surprise", "kill", "abandon"}) {
      const auto with = [&](const char* other) {
        return problem(method, (R"({")" + std::string(name) + R"(":true)" + other + "}").c_str());
      };
      EXPECT_EQ(with(""), std::string(name) + ": only with force or dry_run");
      EXPECT_EQ(with(R"(,"force":false)"), std::string(name) + ": only with force or dry_run");
      EXPECT_EQ(with(R"(,"force":null)"), std::string(name) + ": only with force or dry_run");
      EXPECT_EQ(with(R"(,"force":true)"), "");
      EXPECT_EQ(with(R"(,"dry_run":true)"), "");
    }
    EXPECT_EQ(problem(method, R"({"grace_ms":0})"), "grace_ms: only with force or dry_run");
    EXPECT_EQ(problem(method, R"({"wait_ms":5,"force":true})"), "wait_ms: not with force");
    EXPECT_EQ(problem(method, R"({"wait_ms":5})"), "");
    EXPECT_EQ(problem(method, R"({"surprise":false})"), "");
    EXPECT_EQ(problem(method, R"({"drain_timeout_ms":5})"), "");
  }
}

TEST(Rules, OfAnError) {
  EXPECT_EQ(problem("InjectError", "{}"), "wants namespace or file");
  EXPECT_EQ(problem("InjectError", R"({"namespace":"a","file":"b"})"),
            "namespace and file: not together");
  EXPECT_EQ(problem("InjectError", R"({"file":"b","seed":0})"), "seed: only with random");
  EXPECT_EQ(problem("InjectError", R"({"file":"b","seed":0,"random":1})"), "");
  EXPECT_EQ(problem("InjectError", R"({"file":"b","after_ms":0,"on":"read"})"),
            "after_ms: not with on");
  EXPECT_EQ(problem("InjectError", R"({"file":"b","dry_run":true,"nth":1})"),
            "dry_run: not with nth");
  EXPECT_EQ(problem("InjectError", R"({"file":"b","dry_run":false,"nth":1,"on":"any"})"), "");
}

TEST(Rules, OfWhatIsMeant) {
  for (const char* const method : {"UninjectError", "ClearErrors", "Prefault"}) {
    EXPECT_EQ(problem(method, "{}"), "wants namespace or file") << method;
    EXPECT_EQ(problem(method, R"({"namespace":"a","file":"b"})"),
              "namespace and file: not together");
    EXPECT_EQ(problem(method, R"({"file":"b"})"), "");
  }
  EXPECT_EQ(problem("Refs", "{}"), "wants namespace or file");
  EXPECT_EQ(problem("Refs", R"({"namespace":"a","file":"b"})"), "");
  EXPECT_EQ(problem("Explain", "{}"), "wants pfn or address");
  EXPECT_EQ(problem("Explain", R"({"pfn":0,"address":0})"), "pfn and address: not together");
  EXPECT_EQ(problem("StartScrub", R"({"length":0})"), "length: only with object");
  EXPECT_EQ(problem("StartScrub", "{}"), "");
}

TEST(Rules, AreSpelledAsTheCallerSpells) {
  const auto upper = [](std::string_view name) { return "<" + std::string(name) + ">"; };
  const auto fits = check_rules("Explain", Json::object(), upper);
  ASSERT_FALSE(fits);
  EXPECT_EQ(fits.error().message, "wants <pfn> or <address>");
}

TEST(Rules, AMethodWithoutAnyTakesWhatItGets) {
  EXPECT_EQ(problem("List", R"({"idle":true})"), "");
  EXPECT_EQ(problem("NoSuchMethod", "{}"), "");
}

}  // namespace
}  // namespace pmemd
