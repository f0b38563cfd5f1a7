// Tables for people: aligned columns, at most 100 characters wide.
#pragma once

#include <ostream>
#include <string>
#include <string_view>
#include <vector>

namespace pmemd::cli {

// Text that others chose (names of files and programs) as it may be shown: control characters,
// which could drive the terminal, become '?'.
std::string printable(std::string_view text);

class Table {
 public:
  enum class Align { kLeft, kRight };
  struct Column {
    std::string title;
    Align align = Align::kLeft;
    bool elastic = false;  // gives up its beginning where a line would be too long
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
