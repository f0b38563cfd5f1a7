// A file's size and blocks: shared by writing, truncating and fallocate. Private to this folder.
#pragma once

#include <cstdint>

#include "core/base/error.h"
#include "core/filesystem/change.h"
#include "core/filesystem/inode.h"
#include "core/filesystem/state.h"
#include "core/range/range.h"

namespace pmemd {

// [offset, offset + length). EFBIG: reaches past the largest file's end.
Result<FileRange> file_range(uint64_t offset, uint64_t length);

// Marks the written range (in whole pages) as not durable yet.
void mark_unsynced(Inode& inode, FileRange range);

// Zeroes the mapped parts of `range`.
Result<void> zero_mapped(FsState& fs, uint64_t ino, FileRange range) PMEMD_EXCLUDES(fs.mutex);

// The same, if any of it is bad: called before a change that zeroes it anyway, so that nothing has
// changed if that fails. EIO: part of a clear unit, or it can't be cleared.
Result<void> clear_bad(FsState& fs, uint64_t ino, FileRange range) PMEMD_EXCLUDES(fs.mutex);

// Called before the inode (which is cached) becomes `size` bytes long: zeroes the part of its last
// block that a longer file would show. EISDIR, EINVAL, EFBIG; EIO: that part, or the part that a
// shorter file must zero, is bad and can't be cleared.
Result<void> prepare_size(FsState& fs, uint64_t ino, uint64_t size) PMEMD_REQUIRES(fs.change_mutex)
    PMEMD_EXCLUDES(fs.mutex);

// Sets size and times in `row`; cuts off the blocks past the new end.
Result<void> change_size(FsState& fs, Change& change, InodeRow& row, uint64_t size)
    PMEMD_EXCLUDES(fs.mutex);

// Maps the holes of `range`, extends the file to `size` bytes if it is shorter, and stamps it, in
// one transaction. EISDIR, EINVAL; ENOSPC: only after waiting for space that is on its way back.
Result<void> map_range(FsState& fs, uint64_t ino, FileRange range, uint64_t size)
    PMEMD_EXCLUDES(fs.change_mutex, fs.mutex);

// Unmaps the whole blocks of `range`, zeroes the rest of it. EISDIR, EINVAL.
Result<void> punch_range(FsState& fs, uint64_t ino, FileRange range)
    PMEMD_EXCLUDES(fs.change_mutex, fs.mutex);

}  // namespace pmemd
