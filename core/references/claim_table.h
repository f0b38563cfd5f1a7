// The open handles of processes, and their claims through them: registered mappings, takeovers and
// pins.
//
// A handle lives from OPEN to RELEASE. A claim belongs to a handle and to the process that asked
// for it, and ends with the first of them. A pin holds a reference of the pagemap, as
// get_user_pages() holds the page's: a removal waits for it. The others hold none: they outlive a
// removal, and work again after the next enable. Each is charged to the user who asked
// (core/base/user_budget.h): the table keeps its Charge, which ends with it.
//
// The table is also a gate: while it is closed (the device isn't live), it admits nothing new.
//
// Invariants:
//  1. close(only_if_idle) decides "no handle is open" and "none can be opened" in one step.
//  2. A pin's reference is put exactly once, when the pin leaves the table.
//  3. One user's claims don't slow down another's requests: finding pins doesn't look at mappings,
//     finding writers doesn't look at readers, finding a process's claims doesn't look at others'.
//  4. No byte of a file is taken over through two handles.
//
// Thread contract: any thread. References are put without the lock.
// Models: mm/gup.c pin_user_pages(), unpin_user_pages() @v6.12; differs: a pin is a range and has
// an owner.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/base/mutex.h"
#include "core/base/user_budget.h"
#include "core/percpu/percpu_ref.h"
#include "core/references/reference.h"

namespace pmemd {

class ClaimTable {
 public:
  using Charge = UserBudget::Charge;

  ClaimTable() = default;
  ClaimTable(const ClaimTable&) = delete;
  ClaimTable& operator=(const ClaimTable&) = delete;
  ~ClaimTable();  // asserts: nothing is pinned

  // --- the gate; closed at first
  void open() PMEMD_EXCLUDES(mutex_);
  // False: stays open, because a handle is open and `only_if_idle` is set.
  [[nodiscard]] bool close(bool only_if_idle) PMEMD_EXCLUDES(mutex_);

  // --- handles. Nothing: the gate is closed. Ids are never 0 and never reused.
  std::optional<uint64_t> add_handle(uint64_t ino, pid_t pid, bool writable, Charge charge = {},
                                     bool noatime = false) PMEMD_EXCLUDES(mutex_);
  // Removes its claims, too. Ignores unknown ids.
  void remove_handle(uint64_t handle) PMEMD_EXCLUDES(mutex_);
  uint64_t handle_count() const PMEMD_EXCLUDES(mutex_);
  bool has_handle(uint64_t handle) const PMEMD_EXCLUDES(mutex_);
  bool is_writable(uint64_t handle) const PMEMD_EXCLUDES(mutex_);  // false: no such handle, too
  std::vector<uint64_t> handles() const PMEMD_EXCLUDES(mutex_);    // their ids, ascending
  bool has_writer(uint64_t ino) const PMEMD_EXCLUDES(mutex_);
  bool is_noatime(uint64_t handle) const PMEMD_EXCLUDES(mutex_);     // O_NOATIME
  std::vector<uint64_t> open_inodes() const PMEMD_EXCLUDES(mutex_);  // each once, ascending

  // --- claims: each returns the id. EBADF: no such handle. ENODEV: the gate is closed. EINVAL: an
  // empty range. The caller decides whether a handle must be writable (daemon/fuse/ioctl.cc).
  Result<uint64_t> add_mapping(uint64_t handle, pid_t pid, FileRange range, uint64_t address,
                               Charge charge = {}) PMEMD_EXCLUDES(mutex_);
  // `ref`: the pin's own reference; ENODEV if it is empty.
  Result<uint64_t> add_pin(uint64_t handle, pid_t pid, FileRange range, PercpuRef::Ref ref,
                           Charge charge = {}) PMEMD_EXCLUDES(mutex_);
  // EEXIST: part of the range is taken over through another handle.
  Result<uint64_t> add_takeover(uint64_t handle, pid_t pid, FileRange range,
                                std::chrono::milliseconds timeout, Charge charge = {})
      PMEMD_EXCLUDES(mutex_);
  // ENOENT: the handle has no claim of this kind and id (a removal may have taken it).
  Result<void> remove(uint64_t handle, ReferenceKind kind, uint64_t id) PMEMD_EXCLUDES(mutex_);
  // Removes the claims of a process that has ended, and returns them.
  std::vector<Reference> remove_process(pid_t pid) PMEMD_EXCLUDES(mutex_);
  // Removes all pins of all processes, and returns how many.
  uint64_t remove_pins() PMEMD_EXCLUDES(mutex_);
  bool is_pinned(uint64_t ino, FileRange range) const PMEMD_EXCLUDES(mutex_);
  // Whether the handle has a claim of that id, of any kind.
  bool has_claim(uint64_t handle, uint64_t id) const PMEMD_EXCLUDES(mutex_);
  // The claims of a kind; `only`: those that touch this range of this file. By inode, then id.
  std::vector<Reference> find(ReferenceKind kind, const std::optional<ReferenceFilter>& only) const
      PMEMD_EXCLUDES(mutex_);

  // --- waits until no handle is open, or no range is pinned. False: the deadline passed first, or
  // interrupt() was called, after which all waits end at once.
  [[nodiscard]] bool wait_handles_closed(Deadline deadline) PMEMD_EXCLUDES(mutex_);
  [[nodiscard]] bool wait_unpinned(Deadline deadline) PMEMD_EXCLUDES(mutex_);
  void interrupt() PMEMD_EXCLUDES(mutex_);

  struct Counts {
    uint64_t handles = 0;
    uint64_t mappings = 0;
    uint64_t takeovers = 0;
    uint64_t pins = 0;
  };
  Counts counts() const PMEMD_EXCLUDES(mutex_);
  // In the order of their ids.
  std::vector<Reference> list() const PMEMD_EXCLUDES(mutex_);

 private:
  struct Handle {
    Reference reference;
    bool writable = false;
    bool noatime = false;
    Charge charge = {};
    std::set<uint64_t> claims = {};
  };
  struct Claim {
    Reference reference;
    PercpuRef::Ref ref = {};
    Charge charge = {};
  };
  using Claims = std::map<uint64_t, Claim>;

  Result<uint64_t> add(Claim claim) PMEMD_EXCLUDES(mutex_);
  bool is_taken_over_by_others(const Reference& wanted) const PMEMD_REQUIRES(mutex_);
  uint64_t& count(ReferenceKind kind) PMEMD_REQUIRES(mutex_);
  template <class Visitor>
  void visit(ReferenceKind kind, const std::optional<ReferenceFilter>& only, Visitor visitor) const
      PMEMD_REQUIRES(mutex_);
  // Takes a claim out; the caller destroys it, which puts its reference, without the lock.
  Claim take(Claims::iterator claim) PMEMD_REQUIRES(mutex_);
  bool wait_for_zero(const uint64_t& count, Deadline deadline) PMEMD_REQUIRES(mutex_);

  mutable Mutex mutex_;
  CondVar changed_cv_;
  bool is_open_ PMEMD_GUARDED_BY(mutex_) = false;
  bool interrupted_ PMEMD_GUARDED_BY(mutex_) = false;
  uint64_t next_id_ PMEMD_GUARDED_BY(mutex_) = 1;
  std::map<uint64_t, Handle> handles_ PMEMD_GUARDED_BY(mutex_);
  Claims claims_ PMEMD_GUARDED_BY(mutex_);
  std::map<uint64_t, uint64_t> writers_ PMEMD_GUARDED_BY(mutex_);  // inode → writable handles
  // Of claims: inode, kind, id; and pid, id.
  std::set<std::tuple<uint64_t, ReferenceKind, uint64_t>> by_file_ PMEMD_GUARDED_BY(mutex_);
  std::set<std::pair<pid_t, uint64_t>> by_process_ PMEMD_GUARDED_BY(mutex_);
  Counts counts_ PMEMD_GUARDED_BY(mutex_);
};

}  // namespace pmemd
