// The files of a pool's directory: what they are called, the lock, the version, leftovers.
//
// Paths are absolute and come from find_pool(): nobody else can interfere with them. Errors name
// the pool.
#pragma once

#include <cstdint>
#include <string>

#include "core/base/error.h"
#include "core/base/safe_path.h"
#include "core/base/unique_fd.h"

namespace pmemd {

std::string database_path(const std::string& pool);         // <pool>/pool.db
std::string unborn_database_path(const std::string& pool);  // its name until the pool is complete
std::string image_path(const std::string& pool, uint32_t region);  // <pool>/region<N>.img
std::string lock_path(const std::string& pool);

// Finds the pool's directory by its real path (no links in it); the directory need not exist.
// `missing`: whether those above it are made. Errors as find_safe_entry().
Result<SafeEntry> find_pool(const std::string& pool, Missing missing = Missing::kFail);

// Opens the directory and checks that only root and our user can change it, its pool.db, which
// SQLite opens by its path, and SQLite's files beside it. Images and the lock are checked when they
// are opened. EPERM, ELOOP, EIO: a check failed (core/base/safe_path.h). ENOENT, ENOTDIR.
Result<UniqueFd> open_pool_directory(const SafeEntry& pool);

// The lock holds as long as the descriptor, or a copy in a child, is open. Exclusive: nobody else
// has the pool open at all; shared: nobody has it exclusively. EBUSY: somebody has it (message: the
// pid). EPERM, ELOOP, EIO: somebody else could have put that file there.
enum class LockKind { kExclusive, kShared };
Result<UniqueFd> lock_pool(const UniqueFd& directory, const std::string& pool, LockKind kind);
// Writes our pid into it, for the message above; the lock must be exclusive.
void record_lock_owner(const UniqueFd& lock);
void clear_lock_owner(const UniqueFd& lock);
// The pid that was last written there; 0: none, or it can't be read.
int pool_owner(const std::string& pool);

// Reads the version in the database's header, and nothing else; writes nothing. The lock must be
// held, and no Database open in this process (core/database/database.h invariant 3).
// ENOTSUP: a newer version. EIO: not a pool's database, or a damaged one.
Result<int32_t> check_version(const std::string& pool);

// Clears an existing directory for a new pool: removes what an interrupted creation left there. The
// lock must be held. EEXIST: there is a pool. ENOTEMPTY: there is something else.
Result<void> remove_leftovers(const std::string& pool);

// Makes the entries of a directory durable.
Result<void> sync_directory(const std::string& path);

}  // namespace pmemd
