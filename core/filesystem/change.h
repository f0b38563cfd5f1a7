// One change of metadata: copies the rows that it touches, writes them in one transaction and puts
// them into the cache once that is committed. Private to this folder.
//
//   return change_metadata(fs, [&](Change& change) -> Result<void> {
//     PMEMD_ASSIGN(InodeRow* row, change.open(ino));
//     row->…;
//     return {};
//   });
//
// Thread contract: change_mutex and the transaction are held as long as the Change lives.
// Errors: the database's, and those named. After a failure nothing has changed, not even in memory.
#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/database/database.h"
#include "core/filesystem/extent_map.h"
#include "core/filesystem/inode.h"
#include "core/filesystem/state.h"

// The caller's change_mutex is also this object's, which the analysis can't know.
#define PMEMD_CHANGE_HELD PMEMD_ATTRIBUTE(no_thread_safety_analysis)

namespace pmemd {

class Change {
 public:
  Change(FsState& fs, FreedSpace& freed) : fs_(fs), freed_(freed) {}

  // The time of the change: the same for everything that it stamps.
  int64_t now() const { return now_; }

  // The change's copy of a row, the same one each time. ESTALE: no such inode.
  Result<InodeRow*> open(uint64_t ino) PMEMD_CHANGE_HELD;
  // ENOTDIR; ENOENT: the directory has been removed.
  Result<InodeRow*> open_directory(uint64_t ino);

  // A number that was never used.
  Result<uint64_t> new_inode_number() PMEMD_CHANGE_HELD;
  Result<void> create(const InodeRow& row, std::string_view target);
  Result<void> remap(uint64_t ino, ExtentMap::Plan plan);
  Result<void> remove(uint64_t ino);  // the row, its extents and xattrs

  // Counts one entry less, and one link less for a subdirectory's `..`. EIO: the database counts
  // none.
  Result<void> drop_entry(InodeRow* dir);
  Result<void> drop_subdirectory(InodeRow* dir);

  // Drops one link; the last one removes the inode, unless the kernel knows it. `row` must not be
  // used afterwards. EIO: it has none.
  Result<void> drop_link(InodeRow* row);

  // The value of a directory's default ACL; empty: none.
  Result<std::string> default_acl(uint64_t ino);
  void set_default_acl(uint64_t ino, std::string value);

  Result<void> commit(Transaction& transaction);

 private:
  struct Edit {
    InodeRow before;  // as it was when the change began
    InodeRow row;
  };

  // Runs in commit(), once the transaction is in the table.
  void apply() noexcept PMEMD_CHANGE_HELD;
  void apply_edit(const Edit& edit) PMEMD_REQUIRES(fs_.mutex);
  void apply_removal(uint64_t ino) PMEMD_REQUIRES(fs_.mutex);

  FsState& fs_;
  FreedSpace& freed_;
  const int64_t now_ = fs_.now();
  std::list<Edit> edits_;
  std::vector<InodeRow> created_;
  std::vector<std::pair<uint64_t, ExtentMap::Plan>> remapped_;
  std::vector<uint64_t> removed_;
  std::vector<std::pair<uint64_t, std::string>> default_acls_;
  std::optional<uint64_t> end_index_;
};

// One change, whole: `act(change)` says what, and an error of it takes all back.
template <class Act>
Result<void> change_metadata(FsState& fs, Act&& act) {
  FreedSpace freed(fs);  // retired last, without a lock
  MutexLock lock(fs.change_mutex);
  Transaction transaction(fs.db);
  PMEMD_TRY(transaction.begin());
  Change change(fs, freed);
  PMEMD_TRY(act(change));
  return change.commit(transaction);
}

}  // namespace pmemd
