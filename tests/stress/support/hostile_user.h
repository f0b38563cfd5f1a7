// A user who means harm, with all that an unprivileged process can do to a file system that it may
// use: ioctls with wild arguments, leases, locks, mappings, signals, limits driven to their ends.
// It uses its own files and what it may read of others.
//
// What is not here: O_DIRECT into mappings of this mount's own files; mlock of pages that can't be
// read, which the kernel tries for ever (mm/gup.c __mm_populate()).
//
// Thread contract: one thread, of a process of its own: signal handlers and limits are the
// process's.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "core/base/unique_fd.h"

namespace pmemd {

struct Battlefield {
  std::string own;                   // a directory where it may do as it likes
  std::vector<std::string> others;   // files and directories that it may read, and not write
  std::vector<std::string> devices;  // files of devdax, private and p2p namespaces: to write
  std::string control;               // the daemon's socket
};

class HostileUser {
 public:
  HostileUser(Battlefield battlefield, uint64_t seed);
  ~HostileUser();
  HostileUser(const HostileUser&) = delete;
  HostileUser& operator=(const HostileUser&) = delete;

  // Does harm at random until then. How often.
  uint64_t run(std::chrono::steady_clock::time_point end);
  struct Taken {
    uint64_t handles = 0, claims = 0;
    std::string why;  // no more: "EMFILE ENOMEM"
  };
  // Takes all that it gets of open files and claims, and keeps it.
  Taken take_everything();

 private:
  using Attack = void (HostileUser::*)();

  // --- attacks; each leaves at most a few descriptors and mappings behind
  void wild_ioctls();
  void claims();
  void migrations();
  void opens();
  void leases();
  void locks();
  void direct_io();
  void mappings();
  void sparse_touches();
  void allocations();
  void names();
  void deep_directories();
  void xattrs();
  void polls();
  void children_killed();
  void connections();
  void copies();

  uint64_t below(uint64_t bound) {
    return std::uniform_int_distribution<uint64_t>(0, bound - 1)(random_);
  }
  template <class T>
  const T& any(const std::vector<T>& list) {
    return list[below(list.size())];
  }
  uint64_t wild_number();
  std::string own_file();
  std::string some_file();
  UniqueFd open_some(int flags = 0);
  void keep(UniqueFd fd);

  const Battlefield field_;
  std::mt19937_64 random_;
  std::vector<UniqueFd> kept_;
  char* buffer_ = nullptr;  // anonymous memory, aligned: kBufferBytes
};

}  // namespace pmemd
