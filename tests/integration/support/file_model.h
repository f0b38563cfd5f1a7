// Random operations on a directory tree, and a slow plain model of what the tree must hold.
//
// Each operation is performed with system calls and, if it was acknowledged, applied to the model.
// When the file system dies under an operation, that one is in doubt: it may have happened or not,
// and of the bytes it was to write each may be the old or the new one. Nothing else may differ.
//
// Stores through mappings count when msync() has returned.
//
// Thread contract: one thread.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace pmemd {

struct ModelInode {
  mode_t mode = 0;    // type and permissions
  std::string bytes;  // of a file; the target of a symbolic link
  std::map<std::string, std::string> xattrs = {};
  bool operator==(const ModelInode&) const = default;
};

struct ModelTree {
  std::map<std::string, uint64_t> names;  // "d1/f2" → key in inodes
  std::map<uint64_t, ModelInode> inodes;
};

class FileModel {
 public:
  // `root` exists, is empty and stays: across mounts its path is the same.
  FileModel(std::string root, uint64_t seed) : root_(std::move(root)), random_(seed) {}

  // Performs a random operation. False when the file system didn't answer it.
  bool step();
  // How the tree differs from the model; "" when it doesn't. What was in doubt is settled by what
  // is found.
  std::string compare();

  uint64_t operations() const { return operations_; }

 private:
  enum class Kind {
    kCreate,
    kMkdir,
    kSymlink,
    kLink,
    kUnlink,
    kRmdir,
    kRename,
    kWrite,
    kStore,
    kTruncate,
    kPunch,
    kChmod,
    kSetXattr,
    kFsync,
    kCount,
  };
  struct Operation {
    Kind kind = Kind::kCreate;
    std::string path, path2;
    uint64_t offset = 0;
    std::string bytes;
    mode_t mode = 0;
  };

  Operation choose();
  std::string some_name();      // in some directory that exists; exists itself or not
  std::string some_existing();  // "" when there is none
  int perform(const Operation& operation) const;  // an errno, or 0
  int perform_on_file(const Operation& operation) const;
  int store(int fd, const Operation& operation) const;
  static void apply(ModelTree& tree, const Operation& operation, uint64_t new_key);
  static void apply_to_file(ModelInode& inode, const Operation& operation);

  ModelTree read_tree() const;
  std::string difference(const ModelTree& expected, const ModelTree& found) const;
  // "" if `found` is what the operation in doubt may leave when it is cut; else how it isn't.
  std::string not_partly_done(const ModelTree& before, const ModelTree& after,
                              const ModelTree& found) const;

  uint64_t below(uint64_t bound) {
    return std::uniform_int_distribution<uint64_t>(0, bound - 1)(random_);
  }

  const std::string root_;
  std::mt19937_64 random_;
  ModelTree tree_;
  uint64_t next_key_ = 1;
  uint64_t operations_ = 0;
  std::optional<Operation> in_doubt_;
};

}  // namespace pmemd
