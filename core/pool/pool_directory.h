// The files of a pool's directory: what they are called, the lock, the version, leftovers.
//
// Paths are absolute, and were found by find_pool(): nobody else can put anything in the way of
// them. Errors name the pool.
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

// The way to the pool's directory, by its real path (no links in it); the directory need not be
// there. Errors as find_safe_entry().
Result<SafeEntry> find_pool(const std::string& pool);

// The directory, which only root and our user can change, as its pool.db, which SQLite opens by its
// path, and what SQLite keeps beside it. Images and the lock are checked when they are opened.
// EPERM, ELOOP, EIO: it isn't so (core/base/safe_path.h). ENOENT, ENOTDIR.
Result<UniqueFd> open_pool_directory(const SafeEntry& pool);

// Holds as long as the descriptor, or a copy in a child, is open. Exclusive: nobody else has the
// pool open at all; shared: nobody has it exclusively. EBUSY: somebody has (message: the pid).
// EPERM, ELOOP, EIO: somebody else could have put that file there.
enum class LockKind { kExclusive, kShared };
Result<UniqueFd> lock_pool(const UniqueFd& directory, const std::string& pool, LockKind kind);
// Who has it, for the message above; the lock must be exclusive.
void record_lock_owner(const UniqueFd& lock);
void clear_lock_owner(const UniqueFd& lock);
// Whoever wrote there last that it has the pool; 0: nobody, or it can't be read.
int pool_owner(const std::string& pool);

// The version in the database's header; reads nothing else, writes nothing. The lock must be
// held, and no Database open in this process (core/database/database.h invariant 3).
// ENOTSUP: a newer one. EIO: no pool's database, or a damaged one.
Result<int32_t> check_version(const std::string& pool);

// Makes room for a new pool in an existing directory: removes what an interrupted creation has left
// there. The lock must be held. EEXIST: there is a pool. ENOTEMPTY: there is something else.
Result<void> remove_leftovers(const std::string& pool);

// Makes the entries of a directory durable.
Result<void> sync_directory(const std::string& path);

}  // namespace pmemd
