#include "core/base/user_budget.h"

#include <unistd.h>

#include <cassert>

namespace pmemd {

UserBudget::~UserBudget() { assert(of_all_ == 0); }

bool UserBudget::is_privileged(uid_t uid) {
  static const uid_t own = geteuid();
  return uid == 0 || uid == own;
}

std::optional<UserBudget::Charge> UserBudget::charge(uid_t uid) {
  const bool is_user = !is_privileged(uid);
  MutexLock lock(mutex_);
  if (of_all_ >= limits_.total) return std::nullopt;
  if (is_user) {
    const auto it = of_user_.find(uid);
    const uint64_t has = it == of_user_.end() ? 0 : it->second;
    if (of_users_ >= limits_.users || has >= limits_.per_user) return std::nullopt;
  }
  ++of_user_[uid];  // first: only this can fail
  if (is_user) ++of_users_;
  ++of_all_;
  return Charge(this, uid);
}

void UserBudget::give_back(uid_t uid) {
  MutexLock lock(mutex_);
  const auto it = of_user_.find(uid);
  assert(it != of_user_.end());
  if (--it->second == 0) of_user_.erase(it);
  if (!is_privileged(uid)) --of_users_;
  --of_all_;
}

uint64_t UserBudget::charged_to(uid_t uid) const {
  MutexLock lock(mutex_);
  const auto it = of_user_.find(uid);
  return it == of_user_.end() ? 0 : it->second;
}

uint64_t UserBudget::charged() const {
  MutexLock lock(mutex_);
  return of_all_;
}

}  // namespace pmemd
