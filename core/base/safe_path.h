// Walks paths of the file system that nobody else can change.
//
// A user who may write to a directory of a path can put another file, or a link, where we are about
// to open, chown or mount: root's daemon would do that to a file of their choice. So we walk a path
// once, component by component, by descriptors (openat, O_NOFOLLOW), and in each directory only
// root and our own effective user may be able to change what we use. After that nobody else can
// change the path, and names below it may be used by path, too (as SQLite and mount do).
//
// Checks of each directory, starting at /:
//  1. Its owner is root or our effective user.
//  2. Nobody else may write to it: neither others nor a group. (Named users and groups of a POSIX
//     ACL show in the group's bits.) The one exception is our user's own group, with no other
//     member and nobody else's primary group, as where each user has a group and the umask is 002.
//  3. Above the last directory the sticky bit is enough, too (/tmp): others can add names there,
//     but can't replace root's or ours, and the next component is checked to be one of these.
//  4. A symbolic link is root's or ours. It is followed, and its target checked by the same rules.
//  5. No FUSE file system of another user is on the path: it could show any owner and mode.
// Checks of a file: it is regular, not a link, has no second name, and 1 and 2.
//
// In a user namespace with unmapped users (unshare -Ur), these count as root: they look alike.
//
// Not checked: who may read; what root or we ourselves change later; descriptors that others have
// kept open; file systems without owners (vfat: what the mount says), servers of network file
// systems, block devices that others can write to.
//
// Thread contract: no shared state; only at the start, because the group is looked up in libc's
// process-wide tables.
#pragma once

#include <sys/stat.h>

#include <string>

#include "core/base/error.h"
#include "core/base/unique_fd.h"

namespace pmemd {

// A name in a directory whose path is safe. The name itself may be anything, or missing.
struct SafeEntry {
  UniqueFd directory;          // O_PATH
  std::string directory_path;  // absolute, no links in it
  std::string name;

  std::string path() const;
};

enum class LastLink {
  kFollow,  // follow it like the others
  kKeep,    // the entry is the link itself
};

enum class Missing {
  kFail,
  kMake,  // missing directories on the way, with mode 0755 under the umask; they stay
};

// EPERM: somebody else could change the path (the message says who, where, and what to do). ENOENT,
// ENOTDIR, EACCES: a directory is missing, isn't one, can't be entered. ELOOP: more than 40 links.
// EINVAL: the root directory. With Missing::kMake also errors of mkdir(2).
Result<SafeEntry> find_safe_entry(const std::string& path, LastLink last,
                                  Missing missing = Missing::kFail);

// Opens the directory `entry` (O_PATH), in which only root and we may write: rule 3 doesn't apply.
// EPERM, ENOENT, ENOTDIR (also a link).
Result<UniqueFd> open_safe_directory(const SafeEntry& entry);

// Opens a regular file in such a directory, by openat(2) with `flags`; `path` is for messages.
// Other kinds of file can't block it. EPERM: somebody else could change the file. ELOOP: a link.
// EIO: not a regular file. ENOENT, EACCES, …: as openat.
Result<UniqueFd> open_safe_file(int directory, const std::string& name, const std::string& path,
                                int flags, mode_t mode = 0);

// The same checks for a file that other code will open by its path: pool.db. A missing one is safe.
Result<void> check_safe_file(int directory, const std::string& name, const std::string& path);

}  // namespace pmemd
