#include "core/pool/media_errors.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "core/base/fault.h"
#include "core/base/memory.h"
#include "core/pool/columns.h"

namespace pmemd {
namespace {

FaultPoint fault_write_record("media.write-record", "writing which bytes are bad to pool.db");

RangeSet<RegionSpace> all_sectors_of(const MediaErrors::Ranges& ranges) {
  RangeSet<RegionSpace> sectors;
  for (const RegionRange& range : ranges) sectors.insert(sectors_of(range));
  return sectors;
}

}  // namespace

Result<std::unique_ptr<MediaErrors>> MediaErrors::load(Database& db, uint32_t region,
                                                       uint64_t max_ranges) {
  std::unique_ptr<MediaErrors> errors(new MediaErrors(db, region, max_ranges));
  PMEMD_TRY(errors->read_rows());
  return errors;
}

Result<void> MediaErrors::read_rows() {
  MutexLock db_lock(db_.mutex());
  // A pool of an older version, opened by a reader, has no such table.
  PMEMD_ASSIGN(const bool has_table, db_.has_table("badblocks"));
  if (!has_table) return {};
  PMEMD_ASSIGN(Statement rows, db_.prepare("SELECT kind, start, length FROM badblocks"
                                           " WHERE region = ? ORDER BY kind, start"));
  rows.bind(0, region_);
  MutexLock lock(mutex_);
  for (;;) {
    PMEMD_ASSIGN(const bool more, rows.step());
    if (!more) break;
    RowReader reader(rows);
    const auto kind = reader.integer(0, columns::kBadKind);
    const auto range = RegionRange::sized(reader.number(1, columns::kBadStart),
                                          reader.number(2, columns::kBadLength));
    PMEMD_TRY(reader.done());
    if (sets_[kind].overlaps(range) || (kind == kKnown && sectors_of(range) != range)) {
      return fail(EIO,
                  fmt::format("region{}: bad blocks: a row of kind {} at {} with length {}",
                              region_, kind, range.begin, range.length()),
                  kDamagedHint);
    }
    sets_[kind].insert(range);
  }
  any_ = !sets_[kKnown].empty() || !sets_[kInjected].empty();
  return {};
}

bool MediaErrors::is_bad(RegionRange range) const {
  if (!any_.load(std::memory_order_acquire)) return false;
  MutexLock lock(mutex_);
  return sets_[kKnown].overlaps(range) || sets_[kInjected].overlaps(range);
}

MediaErrors::Ranges MediaErrors::bad(RegionRange range) const {
  if (!any_.load(std::memory_order_acquire)) return {};
  MutexLock lock(mutex_);
  Set both;
  for (const Set& set : sets_) {
    for (const RegionRange& part : set.intersect(range)) both.insert(part);
  }
  return both.ranges();
}

MediaErrors::Ranges MediaErrors::known(RegionRange range) const {
  if (!any_.load(std::memory_order_acquire)) return {};
  MutexLock lock(mutex_);
  return sets_[kKnown].intersect(range);
}

MediaErrors::Ranges MediaErrors::injected(RegionRange range) const {
  if (!any_.load(std::memory_order_acquire)) return {};
  MutexLock lock(mutex_);
  return sets_[kInjected].intersect(range);
}

MediaErrors::Ranges MediaErrors::latent(RegionRange range) const {
  if (!any_.load(std::memory_order_acquire)) return {};
  MutexLock lock(mutex_);
  return latent_locked(range);
}

MediaErrors::Ranges MediaErrors::latent_locked(RegionRange range) const {
  Set latent;
  for (const RegionRange& part : sets_[kInjected].intersect(range)) {
    latent.insert(part);
    for (const RegionRange& found : sets_[kKnown].intersect(part)) latent.erase(found);
  }
  return latent.ranges();
}

Result<void> MediaErrors::inject(const Ranges& errors, const Ranges& known) {
  MutexLock change(change_mutex_);
  return apply(
      {change_of(kInjected, {}, errors), change_of(kKnown, {}, all_sectors_of(known).ranges())});
}

Result<void> MediaErrors::uninject(const Ranges& ranges) {
  MutexLock change(change_mutex_);
  return apply({change_of(kInjected, ranges, {})});
}

Result<MediaErrors::Ranges> MediaErrors::discover(const Ranges& ranges) {
  MutexLock change(change_mutex_);
  Set found;
  {
    MutexLock lock(mutex_);
    for (const RegionRange& sectors : all_sectors_of(ranges).ranges()) {
      for (const RegionRange& part : latent_locked(sectors)) found.insert(sectors_of(part));
    }
  }
  if (found.empty()) return Ranges();
  Ranges known = found.ranges();
  PMEMD_TRY(apply({change_of(kKnown, {}, known)}));
  return known;
}

Result<MediaErrors::Ranges> MediaErrors::clear(const Ranges& ranges) {
  MutexLock change(change_mutex_);
  const Ranges sectors = all_sectors_of(ranges).ranges();
  Set before, good, left;
  {
    MutexLock lock(mutex_);
    for (const RegionRange& range : sectors) {
      for (const RegionRange& part : sets_[kKnown].intersect(range)) good.insert(part);
      for (const RegionRange& part : sets_[kInjected].intersect(range)) left.insert(part);
    }
    for (const RegionRange& range : ranges) {
      for (const RegionRange& part : sets_[kInjected].intersect(range)) before.insert(part);
      left.erase(range);
    }
  }
  good.for_each([&](RegionRange part) { before.insert(part); });
  if (before.empty()) return Ranges();
  // Sectors that still have an error which this write didn't cover stay.
  left.for_each([&](RegionRange part) { good.erase(sectors_of(part)); });
  PMEMD_TRY(apply({change_of(kInjected, ranges, {}), change_of(kKnown, good.ranges(), {})}));
  const MustAllocate committed;
  for (const RegionRange& range : sectors) {
    for (const RegionRange& still : bad(range)) before.erase(still);
  }
  return before.ranges();
}

MediaErrors::Change MediaErrors::change_of(Kind kind, const Ranges& erase,
                                           const Ranges& insert) const {
  Set old;
  {
    MutexLock lock(mutex_);
    for (const auto* ranges : {&erase, &insert}) {
      for (const RegionRange& range : *ranges) {
        if (range.empty()) continue;
        for (const RegionRange& part : sets_[kind].touching(range)) old.insert(part);
      }
    }
  }
  const Ranges before = old.ranges();
  for (const RegionRange& range : erase) old.erase(range);
  for (const RegionRange& range : insert) old.insert(range);
  const Ranges after = old.ranges();
  Change change{kind, {}, {}};
  const auto less = [](const RegionRange& a, const RegionRange& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  };
  std::ranges::set_difference(before, after, std::back_inserter(change.erase), less);
  std::ranges::set_difference(after, before, std::back_inserter(change.put), less);
  return change;
}

void MediaErrors::close() {
  MutexLock change(change_mutex_);
  closed_ = true;
}

void MediaErrors::reopen() {
  MutexLock change(change_mutex_);
  closed_ = false;
}

Result<void> MediaErrors::apply(const std::vector<Change>& changes) {
  if (closed_) return fail(ENOENT, fmt::format("region{}: destroyed", region_));
  uint64_t count = 0;
  {
    MutexLock lock(mutex_);
    count = sets_[kKnown].count() + sets_[kInjected].count();
  }
  for (const Change& change : changes) count = count + change.put.size() - change.erase.size();
  if (count > max_ranges_) {
    return fail(ENOSPC, fmt::format("region{}: {} ranges are bad already", region_, max_ranges_),
                "clear some");
  }
  PMEMD_TRY(fault_write_record.hit());
  {
    Transaction transaction(db_);
    PMEMD_TRY(transaction.begin());
    // By range, because rows that merely touch (no pool of ours has such) are one range in memory.
    PMEMD_ASSIGN(Statement erase, db_.prepare("DELETE FROM badblocks WHERE region = ?"
                                              " AND kind = ? AND start >= ? AND start < ?"));
    PMEMD_ASSIGN(Statement put, db_.prepare("INSERT INTO badblocks (region, kind, start, length)"
                                            " VALUES (?, ?, ?, ?)"));
    for (const Change& change : changes) {
      for (const RegionRange& range : change.erase) {
        erase.bind(0, region_).bind(1, change.kind).bind(2, static_cast<int64_t>(range.begin));
        erase.bind(3, static_cast<int64_t>(range.end));
        PMEMD_TRY(erase.run());
      }
      for (const RegionRange& range : change.put) {
        put.bind(0, region_).bind(1, change.kind).bind(2, static_cast<int64_t>(range.begin));
        put.bind(3, static_cast<int64_t>(range.length()));
        PMEMD_TRY(put.run());
      }
    }
    PMEMD_TRY(transaction.commit());
  }
  const MustAllocate committed;
  MutexLock lock(mutex_);
  for (const Change& change : changes) {
    for (const RegionRange& range : change.erase) sets_[change.kind].erase(range);
    for (const RegionRange& range : change.put) sets_[change.kind].insert(range);
  }
  any_.store(!sets_[kKnown].empty() || !sets_[kInjected].empty(), std::memory_order_release);
  return {};
}

}  // namespace pmemd
