#include "core/pool/pool_view.h"

#include <utility>

#include "core/pool/columns.h"
#include "core/pool/pool_directory.h"

namespace pmemd {

Result<std::unique_ptr<PoolView>> PoolView::open(Pool& pool) {
  std::unique_ptr<PoolView> view(new PoolView(pool));
  PMEMD_ASSIGN(view->database_,
               Database::open(database_path(pool.path()), Database::Mode::kReadOnly));
  {
    MutexLock lock(view->database_->mutex());
    PMEMD_TRY(view->database_->execute("BEGIN"));  // takes effect at the first row read
  }
  auto labels = load_labels(*view->database_);
  if (labels) {
    view->labels_ = *std::move(labels);
  } else {
    view->labels_error_ = std::unexpected(std::move(labels).error());
  }
  return view;
}

PoolView::~PoolView() {
  if (!database_) return;
  MutexLock lock(database_->mutex());
  (void)database_->execute("ROLLBACK");
}

Result<bool> PoolView::is_clean(uint64_t serial) { return read_clean(*database_, serial); }

Result<std::optional<uint64_t>> PoolView::extents_checksum(uint64_t serial) {
  return read_extents_checksum(*database_, serial);
}

Result<bool> PoolView::has_no_new_label() {
  PMEMD_ASSIGN(const Labels now, load_labels(pool_.database()));
  return now.next_serial == labels_.next_serial && has_same_regions();
}

bool PoolView::is_as_seen(const NamespaceRecord& record) {
  const auto now = pool_.find_namespace(record.name());
  return now && now->serial == record.serial;
}

bool PoolView::is_as_clean(uint64_t serial, bool clean) {
  const auto now = pool_.is_clean(serial);
  return now && *now == clean;
}

}  // namespace pmemd
