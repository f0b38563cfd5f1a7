// Tables for people: aligned columns, as wide as the terminal if there is one.
#pragma once

#include <ostream>
#include <string>
#include <string_view>
#include <vector>

namespace pmemd::cli {

// Makes text that others chose (names of files and programs) safe to show: control characters,
// which could drive the terminal, become '?'.
std::string printable(std::string_view text);

// Sets how many characters a table's line may have on `out`; without it, any number.
void set_table_width(std::ostream& out, size_t characters);

class Table {
 public:
  enum class Align { kLeft, kRight };
  // Which end a column shortens where a line would be too long.
  enum class Elastic { kNothing, kBegin, kEnd };
  struct Column {
    std::string title;
    Align align = Align::kLeft;
    Elastic elastic = Elastic::kNothing;
  };

  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  void add(std::vector<std::string> cells);  // one for each column
  bool empty() const { return rows_.empty(); }

  // Prints the title and the rows, each ended by a newline; only the title if there are no rows.
  void print(std::ostream& out) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace pmemd::cli
