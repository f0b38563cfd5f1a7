// How much of something that all users share each of them may have: open files, claims, queued
// work. Nobody takes so much that the others get none, and root always finds some left.
//
// Who pays is the user that asked: the one whose process made the system call, not whoever opened
// the descriptor that it was made through, nor whoever has that descriptor now. So a descriptor
// that is passed on moves nothing: its open file stays on the account of whoever opened it, and a
// claim made through it goes on the account of whoever makes the claim, and leaves it with the
// claim. Nobody can spend another user's budget.
//
// Root and the daemon's own user are not limited as users are, but by `total`; what `total` has
// beyond `users` is theirs alone. A user who has many uids (subordinate ones, in containers) has as
// many budgets; `users` bounds them all.
//
// Invariants:
//  1. Each user's charges ≤ per_user; those of all users ≤ users; those of all ≤ total.
//  2. A charge is given back once, when its object goes.
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
    uint64_t users = 0;     // for all of these together
    uint64_t total = 0;     // for everybody
  };

  // One unit; empty: of no budget.
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

  // Nothing: this user, all users or everybody have what they may have.
  std::optional<Charge> charge(uid_t uid) PMEMD_EXCLUDES(mutex_);

  const Limits& limits() const { return limits_; }
  uint64_t charged_to(uid_t uid) const PMEMD_EXCLUDES(mutex_);
  uint64_t charged() const PMEMD_EXCLUDES(mutex_);

  // Root, and whoever the daemon runs as.
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
