// The files of a pool's directory: what they are called, the lock, the version, leftovers.
//
// Paths are absolute. Errors name the pool.
#pragma once

#include <cstdint>
#include <string>

#include "core/base/error.h"
#include "core/base/unique_fd.h"

namespace pmemd {

std::string database_path(const std::string& pool);         // <pool>/pool.db
std::string unborn_database_path(const std::string& pool);  // its name until the pool is complete
std::string image_path(const std::string& pool, uint32_t region);  // <pool>/region<N>.img
std::string lock_path(const std::string& pool);

std::string absolute_path(const std::string& path);

// Holds as long as the descriptor, or a copy in a child, is open. Exclusive: nobody else has the
// pool open at all; shared: nobody has it exclusively. EBUSY: somebody has (message: the pid).
enum class LockKind { kExclusive, kShared };
Result<UniqueFd> lock_pool(const std::string& pool, LockKind kind);
// Who has it, for the message above; the lock must be exclusive.
void record_lock_owner(const UniqueFd& lock);
void clear_lock_owner(const UniqueFd& lock);

// The version in the database's header; reads nothing else, writes nothing. The lock must be
// held, and no Database open in this process (core/region/database.h invariant 3).
// ENOTSUP: a newer one. EIO: no pool's database, or a damaged one.
Result<int32_t> check_version(const std::string& pool);

// Makes room for a new pool in an existing directory: removes what an interrupted creation has left
// there. The lock must be held. EEXIST: there is a pool. ENOTEMPTY: there is something else.
Result<void> remove_leftovers(const std::string& pool);

// Makes the entries of a directory durable.
Result<void> sync_directory(const std::string& path);

}  // namespace pmemd
