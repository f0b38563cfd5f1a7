// The pool that is damaged: all modes of namespaces, a striped volume, links, extended attributes,
// known bad memory, events. A daemon makes it, through its mount.
//
// namespace0.0 fsdax, 0.1 private, 0.2 p2p; 1.0 devdax, 1.1 fsdax with a file that is bad in part;
// volume0 on namespace2.0 and 3.0. region1 has known bad bytes.
//
// Thread contract: one thread, the main one.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "tests/integration/support/harness.h"
#include "tests/stress/support/pool_truth.h"

namespace pmemd {

// Where the devdax's data lies in its region's image, and how much of it is not zeros.
inline constexpr uint64_t kDevDaxImageOffset = 2 << 20;
inline constexpr uint64_t kDevDaxBytes = 64 << 10;

class MountPools {
 public:
  MountPools();

  // As a stop leaves it; as a SIGKILL does, with a WAL.
  std::string directory(bool is_killed) const {
    return base_.directory() + (is_killed ? "/killed" : "/clean");
  }
  // What it holds, by its tables; the same that was written.
  const Tree& before(bool is_killed) const { return is_killed ? killed_ : clean_; }
  // Mode, by uuid.
  const std::map<std::string, std::string>& modes() const { return modes_; }

 private:
  void make_objects();
  void fill(const std::string& device, uint64_t seed);
  void change(const std::string& device, uint64_t seed);
  void file(const std::string& device, const std::string& path, uint64_t seed, size_t bytes,
            uint64_t offset = 0);
  Tree read_and_compare(const std::string& pool);

  TestPool base_{Storage::kMemory};
  Tree written_;  // files alone
  Tree clean_, killed_;
  std::map<std::string, std::string> modes_;
};

// All of a pool's files, holes as holes.
void copy_pool(const std::string& from, const std::string& to);

}  // namespace pmemd
