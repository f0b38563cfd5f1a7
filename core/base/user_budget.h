// Limits how much each user may have of a shared resource: open files, claims, queued work. No user
// can take so much that others get none, and root always finds some left.
//
// The user who asked pays: the one whose process made the system call, not the one who opened the
// descriptor, nor the one who has it now. So passing a descriptor on moves no charge: its open file
// stays charged to the user who opened it, and a claim made through it is charged to the user who
// makes the claim, until the claim ends. Nobody can spend another user's budget.
//
// Root and the daemon's own user have no per-user limit; only `total` limits them, and what `total`
// has beyond `users` is theirs alone. A user with several uids (subordinate ones, in containers)
// has as many budgets; `users` bounds them all.
//
// Invariants:
//  1. Each user's charges ≤ per_user; those of all users ≤ users; those of all ≤ total.
//  2. A charge is given back exactly once, when its object goes.
//
// Thread contract: any thread. A charge may be taken and given back with any lock held. The budget
// outlives its charges.
// Models: kernel/ucount.c inc_ucount(), dec_ucount() @v6.12; differs: one level, with a reserve.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <utility>

#include "core/base/mutex.h"

namespace pmemd {

class UserBudget {
 public:
  struct Limits {
    uint64_t per_user = 0;  // for each user but root and the daemon's own
    uint64_t users = 0;     // for all such users together
    uint64_t total = 0;     // for everybody
  };

  // One unit; an empty one belongs to no budget.
  class Charge {
   public:
    Charge() = default;
    Charge(Charge&& other) noexcept
        : budget_(std::exchange(other.budget_, nullptr)), uid_(other.uid_) {}
    Charge& operator=(Charge&& other) noexcept {
      std::swap(budget_, other.budget_);
      std::swap(uid_, other.uid_);
      return *this;
    }
    ~Charge() {
      if (budget_ != nullptr) budget_->give_back(uid_);
    }

   private:
    friend class UserBudget;
    Charge(UserBudget* budget, uid_t uid) : budget_(budget), uid_(uid) {}

    UserBudget* budget_ = nullptr;
    uid_t uid_ = 0;
  };

  explicit UserBudget(const Limits& limits) : limits_(limits) {}
  UserBudget(const UserBudget&) = delete;
  UserBudget& operator=(const UserBudget&) = delete;
  ~UserBudget();  // asserts: all charges were given back

  // Nothing: this user, all users together or everybody is at the limit.
  std::optional<Charge> charge(uid_t uid) PMEMD_EXCLUDES(mutex_);

  const Limits& limits() const { return limits_; }
  uint64_t charged_to(uid_t uid) const PMEMD_EXCLUDES(mutex_);
  uint64_t charged() const PMEMD_EXCLUDES(mutex_);

  // Root, and the daemon's own user.
  static bool is_privileged(uid_t uid);

 private:
  void give_back(uid_t uid) PMEMD_EXCLUDES(mutex_);

  const Limits limits_;

  mutable Mutex mutex_;
  std::unordered_map<uid_t, uint64_t> of_user_ PMEMD_GUARDED_BY(mutex_);  // none is 0
  uint64_t of_users_ PMEMD_GUARDED_BY(mutex_) = 0;                        // not the privileged ones
  uint64_t of_all_ PMEMD_GUARDED_BY(mutex_) = 0;
};

}  // namespace pmemd
