// Tables for people: aligned columns, as wide as the terminal where there is one.
#pragma once

#include <ostream>
#include <string>
#include <string_view>
#include <vector>

namespace pmemd::cli {

// Text that others chose (names of files and programs) as it may be shown: control characters,
// which could drive the terminal, become '?'.
std::string printable(std::string_view text);

// How many characters a line of a table that is printed to `out` may have; without it, any number.
void set_table_width(std::ostream& out, size_t characters);

class Table {
 public:
  enum class Align { kLeft, kRight };
  // What a column gives up where a line would be too long.
  enum class Elastic { kNothing, kBegin, kEnd };
  struct Column {
    std::string title;
    Align align = Align::kLeft;
    Elastic elastic = Elastic::kNothing;
  };

  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  void add(std::vector<std::string> cells);  // one for each column
  bool empty() const { return rows_.empty(); }

  // Title and rows, each ended by a newline; nothing but the title when there are no rows.
  void print(std::ostream& out) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace pmemd::cli
