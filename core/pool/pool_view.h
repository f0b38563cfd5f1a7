// A pool's database at one moment: the view that `check` examines.
//
// A connection of its own, with one read transaction: everything read through it is consistent,
// whatever is committed meanwhile, and it blocks nobody. Images have no such moment: after finding
// something wrong in their bytes, ask is_as_seen() whether a later change may explain it.
//
// Thread contract: one thread; other threads may change the pool.
#pragma once

#include <memory>
#include <optional>

#include "core/base/error.h"
#include "core/database/database.h"
#include "core/pool/labels.h"
#include "core/pool/pool.h"

namespace pmemd {

class PoolView {
 public:
  // EIO: the database can't be read at all. Unreadable labels are a finding (labels_error()).
  static Result<std::unique_ptr<PoolView>> open(Pool& pool);
  ~PoolView();
  PoolView(const PoolView&) = delete;
  PoolView& operator=(const PoolView&) = delete;

  Pool& pool() { return pool_; }
  Database& database() { return *database_; }
  const Labels& labels() const { return labels_; }
  const Result<void>& labels_error() const { return labels_error_; }

  // For objects that were live when the view was opened.
  Result<bool> is_clean(uint64_t serial);
  // As Pool's.
  Result<std::optional<uint64_t>> extents_checksum(uint64_t serial);

  // Whether no region has been made or destroyed since the view was opened.
  bool has_same_regions() const { return pool_.region_changes() == region_changes_; }
  // Whether no namespace has been made since then, either.
  Result<bool> has_no_new_label();
  // Whether the namespace or volume still exists, and is as clean as it was.
  bool is_as_seen(const NamespaceRecord& record);
  bool is_as_clean(uint64_t serial, bool clean);

 private:
  explicit PoolView(Pool& pool) : pool_(pool), region_changes_(pool.region_changes()) {}

  Pool& pool_;
  const uint64_t region_changes_;
  std::unique_ptr<Database> database_;
  Labels labels_;
  Result<void> labels_error_;
};

}  // namespace pmemd
