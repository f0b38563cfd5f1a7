#include "tests/stress/support/pool_truth.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <set>
#include <vector>

#include "core/base/unique_fd.h"

namespace pmemd {
namespace {

constexpr int64_t kMetadata = 2 << 20;
constexpr int64_t kPage = 4096;
constexpr int kDepthMax = 8;

// Of damaged numbers: the nearest that there is.
int64_t plus(int64_t a, int64_t b) {
  int64_t sum = 0;
  return __builtin_add_overflow(a, b, &sum) ? (b < 0 ? INT64_MIN : INT64_MAX) : sum;
}

struct Space {
  int64_t region = 0, start = 0, size = 0;
};
struct Volume {
  bool is_striped = false;
  int64_t chunk = 0;
  std::vector<int64_t> legs;
};
struct InodeOf {
  int64_t mode = 0, size = 0;
  std::string target;
};
struct ExtentOf {
  int64_t file = 0, data = 0, length = 0;
};

class Truth {
 public:
  Truth(const std::string& database, std::string images) : images_(std::move(images)) {
    sqlite3_open_v2(database.c_str(), &db_, SQLITE_OPEN_READWRITE, nullptr);
  }
  ~Truth() { sqlite3_close(db_); }
  Truth(const Truth&) = delete;
  Truth& operator=(const Truth&) = delete;

  Tree read() {
    load();
    if (!is_readable_) return {};
    for (const auto& [serial, name] : devices_) {
      if (!legs_.contains(serial)) walk(name, serial, serial << 40 | 1, 0);
    }
    return std::move(tree_);
  }

 private:
  using Row = std::function<void(sqlite3_stmt*)>;
  void each(const char* sql, const Row& row) {
    sqlite3_stmt* statement = nullptr;
    int code = sqlite3_prepare_v2(db_, sql, -1, &statement, nullptr);
    while (code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
      row(statement);
      code = SQLITE_OK;
    }
    if (code != SQLITE_DONE) is_readable_ = false;
    sqlite3_finalize(statement);
  }
  static int64_t number(sqlite3_stmt* row, int column) { return sqlite3_column_int64(row, column); }
  static std::string bytes(sqlite3_stmt* row, int column) {
    const auto* data = static_cast<const char*>(sqlite3_column_blob(row, column));
    return data == nullptr
               ? std::string()
               : std::string(data, static_cast<size_t>(sqlite3_column_bytes(row, column)));
  }

  void load() {
    each("SELECT serial, region, start, size, id, mode, live FROM namespaces NOT INDEXED",
         [this](sqlite3_stmt* row) {
           spaces_[number(row, 0)] = {number(row, 1), number(row, 2), number(row, 3)};
           if (bytes(row, 5) != "fsdax" || number(row, 6) != 1) return;
           devices_[number(row, 0)] = fmt::format("namespace{}.{}", number(row, 1), number(row, 4));
         });
    each("SELECT serial, id, type, chunk, live FROM volumes NOT INDEXED",
         [this](sqlite3_stmt* row) {
           volumes_[number(row, 0)] = {bytes(row, 2) == "striped", number(row, 3), {}};
           if (number(row, 4) != 1) return;
           devices_[number(row, 0)] = fmt::format("volume{}", number(row, 1));
         });
    each("SELECT volume, leg FROM volume_legs NOT INDEXED ORDER BY volume, position",
         [this](sqlite3_stmt* row) {
           volumes_[number(row, 0)].legs.push_back(number(row, 1));
           legs_.insert(number(row, 1));
         });
    each("SELECT ino, mode, size, target FROM inodes NOT INDEXED", [this](sqlite3_stmt* row) {
      inodes_[number(row, 0)] = {number(row, 1), number(row, 2), bytes(row, 3)};
    });
    each("SELECT parent, name, ino FROM dirents NOT INDEXED", [this](sqlite3_stmt* row) {
      entries_[number(row, 0)].emplace_back(bytes(row, 1), number(row, 2));
    });
    each("SELECT ino, file_offset, data_offset, length FROM extents NOT INDEXED",
         [this](sqlite3_stmt* row) {
           extents_[number(row, 0)].push_back({number(row, 1), number(row, 2), number(row, 3)});
         });
  }

  void walk(const std::string& path, int64_t serial, int64_t ino, int depth) {
    const auto found = inodes_.find(ino);
    if (found == inodes_.end() || depth > kDepthMax) return;
    const auto& [mode, size, target] = found->second;
    Node node{.type = static_cast<mode_t>(mode) & S_IFMT, .size = static_cast<uint64_t>(size)};
    if (S_ISDIR(mode)) node.size = 0;
    if (S_ISLNK(mode)) node.bytes = target;
    if (S_ISREG(mode)) node.bytes = content(serial, ino, size);
    tree_[path] = node;
    if (!S_ISDIR(mode)) return;
    for (const auto& [name, child] : entries_[ino]) {
      if (child >> 40 == serial) walk(path + "/" + name, serial, child, depth + 1);
    }
  }

  std::string content(int64_t serial, int64_t ino, int64_t size) {
    size = std::clamp<int64_t>(size, 0, int64_t{kHeadBytes});
    std::string bytes(static_cast<size_t>(size), '\0');
    for (const ExtentOf& extent : extents_[ino]) {
      if (extent.file < 0 || extent.data < 0) continue;
      for (int64_t at = 0; at < extent.length && extent.file < size - at; at += kPage) {
        const int64_t begin = extent.file + at;
        const int64_t length = std::min(kPage, size - begin);
        read_page(serial, plus(extent.data, at), bytes.data() + begin, static_cast<size_t>(length));
      }
    }
    return bytes;
  }

  int64_t data_bytes(int64_t serial, int depth = 0) {
    if (const auto space = spaces_.find(serial); space != spaces_.end()) {
      return plus(space->second.size, -kMetadata);
    }
    const auto volume = volumes_.find(serial);
    if (volume == volumes_.end() || depth > kDepthMax) return 0;
    int64_t sum = 0;
    for (const int64_t leg : volume->second.legs) sum = plus(sum, data_bytes(leg, depth + 1));
    return sum;
  }

  void read_page(int64_t serial, int64_t offset, char* to, size_t length, int depth = 0) {
    if (const auto space = spaces_.find(serial); space != spaces_.end()) {
      const auto [region, start, size] = space->second;
      const UniqueFd fd(
          ::open(fmt::format("{}/region{}.img", images_, region).c_str(), O_RDONLY | O_CLOEXEC));
      if (fd && ::pread(fd.get(), to, length, plus(plus(start, kMetadata), offset)) < 0) return;
      return;
    }
    const auto found = volumes_.find(serial);
    if (found == volumes_.end() || found->second.legs.empty() || depth > kDepthMax) return;
    const auto& [is_striped, chunk, legs] = found->second;
    if (is_striped && chunk >= kPage) {
      const int64_t number = offset / chunk;
      const auto count = static_cast<int64_t>(legs.size());
      return read_page(legs[static_cast<size_t>(number % count)],
                       plus(number / count * chunk, offset % chunk), to, length, depth + 1);
    }
    for (const int64_t leg : legs) {
      const int64_t of_leg = data_bytes(leg);
      if (offset < of_leg) return read_page(leg, offset, to, length, depth + 1);
      offset -= of_leg;
    }
  }

  sqlite3* db_ = nullptr;
  const std::string images_;
  bool is_readable_ = true;
  std::map<int64_t, Space> spaces_;
  std::map<int64_t, Volume> volumes_;
  std::map<int64_t, std::string> devices_;
  std::set<int64_t> legs_;
  std::map<int64_t, InodeOf> inodes_;
  std::map<int64_t, std::vector<std::pair<std::string, int64_t>>> entries_;
  std::map<int64_t, std::vector<ExtentOf>> extents_;
  Tree tree_;
};

}  // namespace

Tree read_truth(const std::string& database, const std::string& images) {
  return Truth(database, images).read();
}

}  // namespace pmemd
