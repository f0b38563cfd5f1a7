// What the files of a pool are, by its tables alone: read with plain SQLite, by no index and with
// none of pmemd's code between, so that what pmemd serves can be held against it.
//
// Thread contract: one thread; nobody changes the pool meanwhile.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <map>
#include <string>

namespace pmemd {

// Of a file, the first bytes; of a symbolic link, where it leads.
struct Node {
  mode_t type = 0;    // S_IFMT bits
  uint64_t size = 0;  // of a directory 0
  std::string bytes = {};
  bool operator==(const Node&) const = default;
};
inline constexpr uint64_t kHeadBytes = 512 * 1024;

// By device and path: "volume0/dir/file".
using Tree = std::map<std::string, Node>;

// `database`: a copy of pool.db, with its WAL, that may be changed; `images`: where the images are.
// Empty, if the tables can't be read.
Tree read_truth(const std::string& database, const std::string& images);

}  // namespace pmemd
