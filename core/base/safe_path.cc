#include "core/base/safe_path.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <cstring>
#include <deque>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <system_error>
#include <utility>
#include <vector>

#include "core/base/mount_table.h"

namespace pmemd {
namespace {

constexpr int kLinksMax = 40;  // the kernel's
constexpr const char* kWayOn = "or use a path whose directories belong to root or to pmemd's user";

// Uses libc's user database: only at the start, when there are no other threads.
// NOLINTBEGIN(concurrency-mt-unsafe)
std::string user_name(uid_t uid) {
  const passwd* const user = ::getpwuid(uid);
  return user == nullptr ? fmt::format("{}", uid) : user->pw_name;
}

std::string describe_user(uid_t uid) {
  const std::string name = user_name(uid);
  const std::string number = fmt::format("{}", uid);
  return name == number ? "uid " + number : fmt::format("{} (uid {})", name, uid);
}

// Whether our user is the group's only member.
bool is_own_group(gid_t gid) {
  const passwd* user = ::getpwuid(::geteuid());
  if (user == nullptr || user->pw_gid != gid) return false;
  const std::string name = user->pw_name;
  const group* const found = ::getgrgid(gid);
  if (found == nullptr) return false;
  for (char** member = found->gr_mem; *member != nullptr; ++member) {
    if (name != *member) return false;
  }
  bool alone = true;
  ::setpwent();
  while ((user = ::getpwent()) != nullptr) {
    if (user->pw_gid == gid && user->pw_uid != ::geteuid()) alone = false;
  }
  ::endpwent();
  return alone;
}
// NOLINTEND(concurrency-mt-unsafe)

// In a user namespace that doesn't map them, all other users of the host look like this one, even
// root, who owns "/".
bool is_unmapped(uid_t uid) {
  constexpr uid_t kOverflowUid = 65534;
  if (uid != kOverflowUid) return false;
  std::ifstream map("/proc/self/uid_map");
  uint64_t begin = 0, outside = 0, length = 0;
  while (map >> begin >> outside >> length) {
    if (uid >= begin && uid - begin < length) return false;
  }
  return map.eof() && length != 0;
}

bool is_trusted(uid_t uid) { return uid == 0 || uid == ::geteuid() || is_unmapped(uid); }

// Uses only what the kernel knows: doesn't ask a FUSE or network server, so it can't block us. An
// empty name means the descriptor itself.
Result<struct statx> look_at(int directory, const std::string& name, const std::string& path) {
  struct statx st = {};
  constexpr unsigned kWanted = STATX_BASIC_STATS | STATX_MNT_ID;
  if (::statx(directory, name.c_str(),
              AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC, kWanted,
              &st) != 0) {
    return fail_errno(path);
  }
  return st;
}

std::unexpected<Error> refuse_owner(const std::string& path, uid_t owner) {
  return fail(EPERM,
              fmt::format("{}: belongs to {}, who could change what is used there", path,
                          describe_user(owner)),
              fmt::format("'chown -h {} {}', {}", user_name(::geteuid()), path, kWayOn));
}

enum class Sticky { kServes, kDoesNotServe };

Result<void> check_owner_and_mode(const struct statx& st, const std::string& path, Sticky sticky) {
  if (!is_trusted(st.stx_uid)) return refuse_owner(path, st.stx_uid);
  if (sticky == Sticky::kServes && (st.stx_mode & S_ISVTX) != 0) return {};
  const bool by_others = (st.stx_mode & S_IWOTH) != 0;
  if (!by_others && ((st.stx_mode & S_IWGRP) == 0 || is_own_group(st.stx_gid))) return {};
  const std::string who = by_others ? "anybody" : fmt::format("members of group {}", st.stx_gid);
  return fail(EPERM,
              fmt::format("{}: mode {:04o} lets {} change what is used there", path,
                          st.stx_mode & 07777, who),
              fmt::format("'chmod {} {}', {}", by_others ? "go-w" : "g-w", path, kWayOn));
}

// Rule 5.
Result<void> check_mount(const struct statx& st, const std::string& path) {
  const auto table = read_mount_table();
  const MountInfo* const mount = find_mount_id(table, st.stx_mnt_id);
  if (mount == nullptr) return {};
  const auto owner = fuse_owner(*mount);
  if (!owner || is_trusted(*owner)) return {};
  return fail(EPERM,
              fmt::format("{}: is shown by a FUSE file system of {}, which may show what it likes",
                          path, describe_user(*owner)),
              "use a path outside of " + mount->point);
}

Result<void> check_file(const struct statx& st, const std::string& path) {
  if (S_ISLNK(st.stx_mode)) {
    return fail(ELOOP, path + ": is a symbolic link", "move the file itself there");
  }
  if (!S_ISREG(st.stx_mode)) return fail(EIO, path + ": not a regular file");
  PMEMD_TRY(check_owner_and_mode(st, path, Sticky::kDoesNotServe));
  if (st.stx_nlink <= 1) return {};
  return fail(EPERM,
              fmt::format("{}: has {} names (hard links); one of them may be somebody else's", path,
                          st.stx_nlink),
              "replace it by a copy of its own");
}

class Walk {
 public:
  explicit Walk(Missing missing) : missing_(missing) {}
  Result<SafeEntry> find(const std::string& path, LastLink last);

 private:
  struct Step {
    UniqueFd fd;
    std::string name;
  };

  std::string path_to(const std::string& name) const;
  void push_front(const std::string& path);
  Result<void> enter(const std::string& name);
  // True: `name` was a link, and its target is walked next.
  Result<bool> follow(const std::string& name);
  Result<void> make(const std::string& name);
  SafeEntry entry(std::string name);

  const Missing missing_;
  std::vector<Step> steps_;  // from the root directory on
  std::deque<std::string> left_;
  int links_ = 0;
  std::optional<uint64_t> mount_id_;
};

std::string Walk::path_to(const std::string& name) const {
  std::string path;
  for (const Step& step : steps_) {
    if (!step.name.empty()) path += "/" + step.name;
  }
  return name.empty() && !path.empty() ? path : path + "/" + name;
}

void Walk::push_front(const std::string& path) {
  std::vector<std::string> parts;
  std::istringstream text(path);
  for (std::string part; std::getline(text, part, '/');) {
    if (!part.empty() && part != ".") parts.push_back(part);
  }
  left_.insert(left_.begin(), std::make_move_iterator(parts.begin()),
               std::make_move_iterator(parts.end()));
}

// O_DIRECTORY also triggers an automount.
Result<void> Walk::enter(const std::string& name) {
  constexpr int kFlags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  UniqueFd fd(steps_.empty() ? ::open("/", kFlags)
                             : ::openat(steps_.back().fd.get(), name.c_str(), kFlags));
  const std::string path = path_to(name);
  if (!fd) return fail_errno(path);
  PMEMD_ASSIGN(const struct statx st, look_at(fd.get(), "", path));
  if (mount_id_ != st.stx_mnt_id) PMEMD_TRY(check_mount(st, path));
  mount_id_ = st.stx_mnt_id;
  PMEMD_TRY(check_owner_and_mode(st, path, Sticky::kServes));
  steps_.push_back({std::move(fd), name});
  return {};
}

Result<bool> Walk::follow(const std::string& name) {
  const std::string path = path_to(name);
  const UniqueFd fd(
      ::openat(steps_.back().fd.get(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return fail_errno(path);
  PMEMD_ASSIGN(const struct statx st, look_at(fd.get(), "", path));
  if (!S_ISLNK(st.stx_mode)) return false;
  if (!is_trusted(st.stx_uid)) return refuse_owner(path, st.stx_uid);
  if (++links_ > kLinksMax) return fail(ELOOP, path + ": too many symbolic links");
  std::array<char, PATH_MAX> target{};
  const ssize_t length = ::readlinkat(fd.get(), "", target.data(), target.size() - 1);
  if (length < 0) return fail_errno(path);
  const std::string text(target.data(), static_cast<size_t>(length));
  if (text.starts_with('/')) steps_.resize(1);
  push_front(text);
  return true;
}

// Whoever is quicker: enter() checks whose it is.
Result<void> Walk::make(const std::string& name) {
  if (::mkdirat(steps_.back().fd.get(), name.c_str(), 0755) == 0 || errno == EEXIST) return {};
  return fail_errno(path_to(name));
}

SafeEntry Walk::entry(std::string name) {
  std::string path = path_to("");
  return {std::move(steps_.back().fd), std::move(path), std::move(name)};
}

Result<SafeEntry> Walk::find(const std::string& path, LastLink last) {
  std::error_code error;
  push_front(path);
  if (!path.starts_with('/')) push_front(std::filesystem::current_path(error));
  if (error) return fail(error.value(), fmt::format("{}: {}", path, error.message()));
  PMEMD_TRY(enter(""));
  while (!left_.empty()) {
    std::string name = std::move(left_.front());
    left_.pop_front();
    if (name == "..") {
      if (steps_.size() > 1) steps_.pop_back();
      mount_id_.reset();
      continue;
    }
    if (left_.empty() && last == LastLink::kKeep) return entry(std::move(name));
    const auto followed = follow(name);
    if (left_.empty() && followed.err() == ENOENT) return entry(std::move(name));
    if (followed.err() == ENOENT && missing_ == Missing::kMake) {
      PMEMD_TRY(make(name));
    } else if (!followed) {
      return std::unexpected(followed.error());
    } else if (*followed) {
      continue;
    }
    if (left_.empty()) return entry(std::move(name));
    PMEMD_TRY(enter(name));
  }
  // The path ended in "..", or a link's target did.
  if (steps_.size() == 1) return fail(EINVAL, path + ": is the root directory");
  std::string name = std::move(steps_.back().name);
  steps_.pop_back();
  return entry(std::move(name));
}

}  // namespace

std::string SafeEntry::path() const {
  return directory_path == "/" ? "/" + name : directory_path + "/" + name;
}

Result<SafeEntry> find_safe_entry(const std::string& path, LastLink last, Missing missing) {
  return Walk(missing).find(path, last);
}

Result<UniqueFd> open_safe_directory(const SafeEntry& entry) {
  UniqueFd fd(::openat(entry.directory.get(), entry.name.c_str(),
                       O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return fail_errno(entry.path());
  PMEMD_ASSIGN(const struct statx st, look_at(fd.get(), "", entry.path()));
  PMEMD_TRY(check_mount(st, entry.path()));
  PMEMD_TRY(check_owner_and_mode(st, entry.path(), Sticky::kDoesNotServe));
  return fd;
}

// O_NONBLOCK: a FIFO in its place must not block us.
Result<UniqueFd> open_safe_file(int directory, const std::string& name, const std::string& path,
                                int flags, mode_t mode) {
  UniqueFd fd(::openat(directory, name.c_str(), flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, mode));
  if (!fd && errno == ELOOP) {
    return fail(ELOOP, path + ": is a symbolic link", "move the file itself there");
  }
  if (!fd) return fail_errno(path);
  PMEMD_ASSIGN(const struct statx st, look_at(fd.get(), "", path));
  PMEMD_TRY(check_file(st, path));
  return fd;
}

Result<void> check_safe_file(int directory, const std::string& name, const std::string& path) {
  const auto st = look_at(directory, name, path);
  if (st.err() == ENOENT) return {};
  if (!st) return std::unexpected(st.error());
  return check_file(*st, path);
}

}  // namespace pmemd
