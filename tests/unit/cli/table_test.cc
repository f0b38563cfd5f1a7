#include "cli/output/table.h"

#include <gtest/gtest.h>

#include <sstream>
#include <string>

#include "cli/input/duration.h"
#include "cli/output/json_output.h"

namespace pmemd::cli {
namespace {

std::string print(const Table& table, size_t width = 100) {
  std::ostringstream out;
  if (width != 0) set_table_width(out, width);
  table.print(out);
  return out.str();
}

TEST(Table, AlignsColumns) {
  Table table({{"LEFT"}, {"RIGHT", Table::Align::kRight}, {"LAST"}});
  table.add({"a", "1", "x"});
  table.add({"längere", "1000000", ""});
  EXPECT_EQ(print(table),
            "LEFT       RIGHT  LAST\n"
            "a              1  x\n"
            "längere  1000000\n");
}

TEST(Table, ShortensTheElasticColumnToFit) {
  const auto umlauts = [](int count) {
    std::string text;
    for (int i = 0; i < count; ++i) text += "ä";
    return text;
  };
  Table table({{"A"}, {"FILE", Table::Align::kLeft, Table::Elastic::kBegin}, {"B"}});
  table.add({std::string(30, 'a'), "/" + umlauts(90) + "/end", std::string(20, 'b')});
  table.add({"a", "short", "b"});
  std::istringstream lines(print(table));
  std::string line;
  std::getline(lines, line);
  std::getline(lines, line);
  EXPECT_EQ(line, std::string(30, 'a') + "  …" + umlauts(41) + "/end  " + std::string(20, 'b'));
  std::getline(lines, line);
  EXPECT_EQ(line.substr(32, 5), "short");
}

TEST(Table, CutsProseAtItsEnd) {
  Table table({{"A"}, {"WHAT", Table::Align::kLeft, Table::Elastic::kEnd}});
  table.add({"a", "what it is för " + std::string(90, 'x')});
  EXPECT_EQ(print(table, 30), "A  WHAT\na  what it is för xxxxxxxxxxx…\n");
}

TEST(Table, IsAsWideAsItsTextWhereThereIsNoTerminal) {
  Table table({{"A"}, {"FILE", Table::Align::kLeft, Table::Elastic::kBegin}});
  table.add({std::string(200, 'a'), std::string(500, 'f')});
  EXPECT_NE(print(table, 0).find(std::string(200, 'a') + "  " + std::string(500, 'f')),
            std::string::npos);
}

TEST(Table, NeverShortensTheElasticColumnToNothing) {
  Table table({{"A"}, {"FILE", Table::Align::kLeft, Table::Elastic::kBegin}});
  table.add({std::string(200, 'a'), std::string(50, 'f')});
  EXPECT_NE(print(table).find("…" + std::string(11, 'f') + "\n"), std::string::npos);
}

TEST(Printable, ReplacesWhatDrivesATerminal) {
  EXPECT_EQ(printable("plain äöü €"), "plain äöü €");
  EXPECT_EQ(printable("a\x1b[2Jb\n\r\t\x7f"), "a?[2Jb????");
  EXPECT_EQ(printable("a\xc2\x9b"
                      "31m"),
            "a?31m");
}

TEST(Duration, ReadsAndWrites) {
  EXPECT_EQ(parse_duration_ms("500ms").value(), 500u);
  EXPECT_EQ(parse_duration_ms("5s").value(), 5000u);
  EXPECT_EQ(parse_duration_ms("2m").value(), 120'000u);
  EXPECT_EQ(parse_duration_ms("1h").value(), 3'600'000u);
  EXPECT_EQ(parse_duration_ms("0s").value(), 0u);
  for (const char* text : {"", "5", "s", "-5s", "5 s", "5x", "5sx", "1.5s"}) {
    EXPECT_EQ(parse_duration_ms(text).err(), EINVAL) << text;
  }
  EXPECT_EQ(parse_duration_ms("99999999999999999999s").err(), ERANGE);
  EXPECT_EQ(parse_duration_ms("18446744073709551615h").err(), ERANGE);
  EXPECT_EQ(format_us(0), "0 us");
  EXPECT_EQ(format_us(999), "999 us");
  EXPECT_EQ(format_us(1500), "1.5 ms");
  EXPECT_EQ(format_us(12'340'000), "12.3 s");
}

TEST(Pretty, IsNdctls) {
  EXPECT_EQ(pretty(Json::parse(R"({"a":[],"b":{},"c":[1,"x"],"d":{"e":null}})")),
            "{\n"
            "  \"a\":[],\n"
            "  \"b\":{},\n"
            "  \"c\":[\n"
            "    1,\n"
            "    \"x\"\n"
            "  ],\n"
            "  \"d\":{\n"
            "    \"e\":null\n"
            "  }\n"
            "}");
}

}  // namespace
}  // namespace pmemd::cli
