#include "core/base/units.h"

#include <gtest/gtest.h>

#include <string_view>

namespace pmemd {
namespace {

struct Case {
  std::string_view text;
  uint64_t bytes;
};

TEST(ParseSize, TakesBinaryUnitsInEverySpelling) {
  for (const auto& [text, bytes] : {Case{"1", 1},
                                    {"4096", 4096},
                                    {"512b", 512},
                                    {"512B", 512},
                                    {"64K", 64 * kKiB},
                                    {"64k", 64 * kKiB},
                                    {"64kb", 64 * kKiB},
                                    {"64KiB", 64 * kKiB},
                                    {"2M", 2 * kMiB},
                                    {"2mIb", 2 * kMiB},
                                    {"1G", kGiB},
                                    {"1gb", kGiB},
                                    {"1T", kTiB},
                                    {"007M", 7 * kMiB},
                                    {"9223372036854775807", INT64_MAX},
                                    {"8388607T", 8388607 * kTiB}}) {
    const auto parsed = parse_size(text);
    ASSERT_TRUE(parsed.has_value()) << text;
    EXPECT_EQ(*parsed, bytes) << text;
  }
}

TEST(ParseSize, WhatIsNoSizeIsInvalid) {
  for (const std::string_view text :
       {"",     " ",  "K",   "-1",  "+1",   " 1",    "1 ", "1 G", "1.5G", "1,5G", "1e3",
        "0x10", "1P", "1KK", "1bb", "1bib", "1Kibi", "1i", "1ib", "M1",   "1\n",  "\xff"}) {
    EXPECT_EQ(parse_size(text).err(), EINVAL) << '"' << text << '"';
  }
  EXPECT_EQ(parse_size(std::string_view("1\0", 2)).err(), EINVAL);
  EXPECT_EQ(parse_size(std::string_view("1K\0", 3)).err(), EINVAL);
}

TEST(ParseSize, ZeroIsInvalidInAnyUnit) {
  for (const std::string_view text : {"0", "0K", "00T"}) {
    EXPECT_EQ(parse_size(text).err(), EINVAL) << text;
  }
}

TEST(ParseSize, TooLargeIsOutOfRangeAndNeverWraps) {
  for (const std::string_view text :
       {"9223372036854775808", "18446744073709551615", "18446744073709551616",
        "99999999999999999999999999", "8388608T", "16777216T", "8589934592G", "18014398509481984K",
        "18446744073709551615T"}) {
    EXPECT_EQ(parse_size(text).err(), ERANGE) << text;
  }
}

TEST(ParseSize, ReadsNoFurtherThanTheView) {
  const std::string_view text("12345G");
  EXPECT_EQ(parse_size(text.substr(0, 2)).value(), 12u);
  EXPECT_EQ(parse_size(text.substr(3)).value(), 45 * kGiB);
}

TEST(ParseSize, ErrorNamesTheTextAndAWayOn) {
  const Error error = parse_size("12Q").error();
  EXPECT_NE(error.message.find("'12Q'"), std::string::npos) << error.message;
  EXPECT_FALSE(error.hint.empty());
}

TEST(FormatSize, IsShortAndInBinaryUnits) {
  EXPECT_EQ(format_size(0), "0 B");
  EXPECT_EQ(format_size(512), "512 B");
  EXPECT_EQ(format_size(1023), "1023 B");
  EXPECT_EQ(format_size(1024), "1 KiB");
  EXPECT_EQ(format_size(1536), "1.5 KiB");
  EXPECT_EQ(format_size(256 * kMiB), "256 MiB");
  EXPECT_EQ(format_size(3 * kGiB / 2), "1.5 GiB");
  EXPECT_EQ(format_size(kTiB), "1 TiB");
  EXPECT_EQ(format_size(5000 * kTiB), "5000 TiB");
}

TEST(Align, RoundsToPowersOfTwo) {
  EXPECT_EQ(align_down(4095, 4096), 0u);
  EXPECT_EQ(align_down(4096, 4096), 4096u);
  EXPECT_EQ(align_down(UINT64_MAX, kSubsectionSize), UINT64_MAX - kSubsectionSize + 1);
  EXPECT_EQ(align_up(0, 4096), 0u);
  EXPECT_EQ(align_up(1, 4096), 4096u);
  EXPECT_EQ(align_up(4096, 4096), 4096u);
  EXPECT_EQ(align_up(INT64_MAX, 4096), uint64_t{1} << 63);
  EXPECT_TRUE(is_aligned(0, 4096));
  EXPECT_TRUE(is_aligned(kGiB, kSubsectionSize));
  EXPECT_FALSE(is_aligned(kGiB + 4096, kSubsectionSize));
}

TEST(Units, CountsAsPeopleWriteThem) {
  EXPECT_EQ(format_count(0, "pin"), "0 pins");
  EXPECT_EQ(format_count(1, "open file"), "1 open file");
  EXPECT_EQ(format_count(2, "pin"), "2 pins");
}

}  // namespace
}  // namespace pmemd
