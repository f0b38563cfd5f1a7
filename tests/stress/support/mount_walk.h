// What a program finds in one directory or file of a mount, by all the ways in which it can look.
//
// Every call returns or fails; whoever runs this sees to it that it ends in time (an alarm of the
// process, say). Thread contract: one thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tests/stress/support/pool_truth.h"

namespace pmemd {

// Bytes of a file that can't be read as a whole.
struct FilePiece {
  std::string path;
  uint64_t offset = 0;
  std::string bytes;
};

struct MountWalk {
  Tree found;                            // what could be read as a whole
  std::map<std::string, uint64_t> inos;  // of what could be looked at
  std::vector<FilePiece> pieces;         // of the others
  std::vector<std::string> errors;       // "namespace0.0/dir: readdir: EIO"
  std::string wrong;                     // what contradicts itself, a line each

  // Adds what lies at `at` in the mount, under the name `path`: attributes, entries, targets,
  // extended attributes; each file's first bytes by read(2), and by a mapping.
  void look(const std::string& at, const std::string& path, int depth = 0);

 private:
  struct Head {
    std::string bytes;
    bool is_whole = false;
  };
  void fail(const std::string& path, const char* what);
  void look_at_attributes(const std::string& at, const std::string& path);
  void look_into(const std::string& at, const std::string& path, int depth);
  std::optional<std::string> read_head(const std::string& at, const std::string& path,
                                       uint64_t size);
  void map_head(int fd, const std::string& path, uint64_t size, const Head& head);
};

// The bytes of [offset, offset + length) of a file, by a mapping, page by page; nothing for a page
// whose touch is a SIGBUS. Empty: it can't be mapped. `offset`: a multiple of a page.
std::vector<std::optional<std::string>> read_mapped(int fd, uint64_t offset, uint64_t length);

}  // namespace pmemd
