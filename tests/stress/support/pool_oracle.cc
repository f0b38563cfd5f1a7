#include "tests/stress/support/pool_oracle.h"

#include <fmt/format.h>
#include <sys/stat.h>

namespace pmemd {
namespace {

bool has(const Tree& tree, const std::string& path, const Node& node) {
  const auto at = tree.find(path);
  return at != tree.end() && at->second == node;
}

bool has(const Tree& tree, const FilePiece& piece) {
  const auto at = tree.find(piece.path);
  return at != tree.end() && at->second.bytes.size() >= piece.offset &&
         at->second.bytes.compare(piece.offset, piece.bytes.size(), piece.bytes) == 0;
}

}  // namespace

std::string device_in(const std::string& path) { return path.substr(0, path.find('/')); }

std::string Expected::judge(const MountWalk& walk, const std::set<std::string>& bad) const {
  std::string wrong = walk.wrong;
  for (const auto& [path, node] : walk.found) {
    // The tables may be older than its first enable, which makes one.
    if (device_in(path) == path && S_ISDIR(node.type)) continue;
    if (has(before, path, node) || has(tables, path, node)) continue;
    wrong += fmt::format(
        "{}: type {:o}, {} bytes, which are neither the old ones nor what the tables say\n", path,
        node.type, node.size);
  }
  for (const FilePiece& piece : walk.pieces) {
    if (has(before, piece) || has(tables, piece)) continue;
    wrong += fmt::format("{}: {} bytes at {}, which are neither the old ones nor the tables'\n",
                         piece.path, piece.bytes.size(), piece.offset);
  }
  if (!is_well) return wrong;
  for (const std::string& error : walk.errors) {
    if (!bad.contains(device_in(error.substr(0, error.find(':'))))) {
      wrong += "check is content, but: " + error + "\n";
    }
  }
  for (const auto& [path, node] : tables) {
    if (!walk.found.contains(path) && !bad.contains(device_in(path))) {
      wrong += path + ": check is content, but it isn't served\n";
    }
  }
  return wrong;
}

}  // namespace pmemd
