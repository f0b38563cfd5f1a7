// Ways through the file system that nobody else can change.
//
// Whoever may write to a directory of a path can put another file, or a link, where we are about to
// open, chown or mount: root's daemon would do that to a file of their choice. So a path is walked
// once, component by component, by descriptors (openat, O_NOFOLLOW), and each directory must be one
// in which only root and our own effective user can change what we use. After that nobody else can
// change the way, and names below it may be used by path, too (as SQLite and mount do).
//
// Checked, of each directory from / on:
//  1. Its owner is root or our effective user.
//  2. Nobody else may write to it: neither others nor a group. (Named users and groups of a POSIX
//     ACL show in the group's bits.) The one group that may is our user's own, with no other member
//     and nobody else's primary group, as where each user has a group and the umask is 002.
//  3. Above the last directory the sticky bit serves, too (/tmp): others can add names there, but
//     not replace what is root's or ours, and what comes next is checked to be.
//  4. A symbolic link is root's or ours. It is followed, and its way checked alike.
//  5. No FUSE file system of another user's is on the way: it could show any owner and mode.
// Of a file: it is regular, no link, has no second name, and 1 and 2.
//
// In a user namespace with unmapped users (unshare -Ur), these count as root: they look alike.
//
// Not checked: who may read. What root or we ourselves change later. Descriptors that others have
// kept open. File systems that know no owners (vfat: what the mount says), servers of network file
// systems, block devices that others can write to.
//
// Thread contract: no shared state; at the start, as the group is looked up in tables of libc's
// that are the process's.
#pragma once

#include <sys/stat.h>

#include <string>

#include "core/base/error.h"
#include "core/base/unique_fd.h"

namespace pmemd {

// A name in a directory to which the way is safe. The name itself may be anything, or missing.
struct SafeEntry {
  UniqueFd directory;          // O_PATH
  std::string directory_path;  // absolute, no links in it
  std::string name;

  std::string path() const;
};

enum class LastLink {
  kFollow,  // it is walked like the others
  kKeep,    // the entry is the link
};

// EPERM: somebody else could change the way (who, where, and what to do about it). ENOENT, ENOTDIR,
// EACCES: a directory is missing, isn't one, can't be entered. ELOOP: more than 40 links. EINVAL:
// the root directory.
Result<SafeEntry> find_safe_entry(const std::string& path, LastLink last);

// The directory `entry`, in which only root and we can write: rule 3 doesn't help it. O_PATH.
// EPERM, ENOENT, ENOTDIR (a link, too).
Result<UniqueFd> open_safe_directory(const SafeEntry& entry);

// A regular file in such a directory, by openat(2) with `flags`; `path` is for messages. Others
// than regular ones can't block it. EPERM: somebody else could change the file. ELOOP: a link. EIO:
// no regular file. ENOENT, EACCES, …: as openat.
Result<UniqueFd> open_safe_file(int directory, const std::string& name, const std::string& path,
                                int flags, mode_t mode = 0);

// The same for one that somebody else will open by its path: pool.db. A missing one is safe.
Result<void> check_safe_file(int directory, const std::string& name, const std::string& path);

}  // namespace pmemd
