// A file's size and blocks: what writing, truncating and fallocate share. Private to this folder.
#pragma once

#include <cstdint>

#include "core/base/error.h"
#include "core/filesystem/change.h"
#include "core/filesystem/inode.h"
#include "core/filesystem/state.h"
#include "core/range/range.h"

namespace pmemd {

// [offset, offset + length). EFBIG: reaches behind the largest file's end.
Result<FileRange> file_range(uint64_t offset, uint64_t length);

// Stamps what was written (page-wise) as not durable yet.
void mark_unsynced(Inode& inode, FileRange range);

// Zeroes what is mapped of `range`.
Result<void> zero_mapped(FsState& fs, uint64_t ino, FileRange range) PMEMD_EXCLUDES(fs.mutex);

// The same, if any of it is bad: before a change that zeroes it anyhow, so that nothing has changed
// where that fails. EIO: part of a clear unit, or it can't be cleared.
Result<void> clear_bad(FsState& fs, uint64_t ino, FileRange range) PMEMD_EXCLUDES(fs.mutex);

// Before the inode (which is cached) becomes `size` bytes long: zeroes what a longer file would
// show of its last block. EISDIR, EINVAL, EFBIG; EIO: that is bad and can't be cleared, or what
// will have to be zeroed of a shorter file.
Result<void> prepare_size(FsState& fs, uint64_t ino, uint64_t size) PMEMD_REQUIRES(fs.change_mutex)
    PMEMD_EXCLUDES(fs.mutex);

// Sets size and times in `row`; cuts off the blocks behind the new end.
Result<void> change_size(FsState& fs, Change& change, InodeRow& row, uint64_t size)
    PMEMD_EXCLUDES(fs.mutex);

// Maps the holes of `range`, makes the file `size` bytes long if it is shorter, stamps it: one
// transaction. EISDIR, EINVAL; ENOSPC: waits for space that is on its way back, first.
Result<void> map_range(FsState& fs, uint64_t ino, FileRange range, uint64_t size)
    PMEMD_EXCLUDES(fs.change_mutex, fs.mutex);

// Unmaps the whole blocks of `range`, zeroes the rest of it. EISDIR, EINVAL.
Result<void> punch_range(FsState& fs, uint64_t ino, FileRange range)
    PMEMD_EXCLUDES(fs.change_mutex, fs.mutex);

}  // namespace pmemd
