// The life of an object of a pool: of a region, a namespace or a volume.
//
//   create:  label, not live, durable → the object made, durable → label live, durable
//   destroy: label not live → the object erased, durable → label deleted
//
// The order makes a kill or a power loss at any point harmless. A label that is not live reserves
// what the object takes up and is shown to nobody; the next open erases its object. An object that
// can't be erased now is noted, and the next change of the pool tries again.
//
// A kind of object is: a record, with its labels (core/pool/labels.h); an ObjectKind below; and
// what Pool does to make and to erase one: Pool::make() and Pool::erase().
//
// Thread contract: that of Pool; each Life belongs to the thread that made it.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/base/memory.h"
#include "core/pool/labels.h"
#include "core/pool/pool.h"

namespace pmemd {

// What differs between kinds. The statements have one parameter, the key; those of a list are one
// transaction.
template <class Record>
struct ObjectKind;

template <>
struct ObjectKind<RegionRecord> {
  static constexpr auto kLabels = &Labels::regions;
  static constexpr auto kKey = &RegionRecord::id;
  static constexpr std::array kMarkLive = {"UPDATE regions SET live = 1 WHERE id = ?"};
  // Bad ranges end with the mark: code that still holds them must find no row to write to.
  static constexpr std::array kMarkNotLive = {"DELETE FROM badblocks WHERE region = ?",
                                              "UPDATE regions SET live = 0 WHERE id = ?"};
  static constexpr std::array kDelete = {"DELETE FROM regions WHERE id = ?"};
  static constexpr const char* kNone = "there is no such region";
  static constexpr const char* kListed = "list -R shows them";
  static constexpr const char* kLeft = "its image is still there";
  static constexpr const char* kAgain = "the next create-region, or the next start, tries again";
};

template <>
struct ObjectKind<NamespaceRecord> {
  static constexpr auto kLabels = &Labels::namespaces;
  static constexpr auto kKey = &NamespaceRecord::serial;
  static constexpr std::array kMarkLive = {"UPDATE namespaces SET live = 1 WHERE serial = ?"};
  static constexpr std::array kMarkNotLive = {"UPDATE namespaces SET live = 0 WHERE serial = ?"};
  static constexpr std::array kDelete = {"DELETE FROM namespaces WHERE serial = ?"};
  static constexpr const char* kNone = "there is no such namespace";
  static constexpr const char* kListed = "list -N shows them";
  static constexpr const char* kLeft = "its space is not free yet";
  static constexpr const char* kAgain = "the next create-namespace, or the next start, tries again";
};

template <>
struct ObjectKind<VolumeRecord> {
  static constexpr auto kLabels = &Labels::volumes;
  static constexpr auto kKey = &VolumeRecord::serial;
  static constexpr std::array kMarkLive = {"UPDATE volumes SET live = 1 WHERE serial = ?"};
  static constexpr std::array kMarkNotLive = {"UPDATE volumes SET live = 0 WHERE serial = ?"};
  static constexpr std::array kDelete = {"DELETE FROM volume_legs WHERE volume = ?",
                                         "DELETE FROM volumes WHERE serial = ?"};
  static constexpr const char* kNone = "there is no such volume";
  static constexpr const char* kListed = "list -V shows them";
  static constexpr const char* kLeft = "its legs are not free yet";
  static constexpr const char* kAgain = "the next create-volume, or the next start, tries again";
};

// ENOENT: no object of this kind has that name.
template <class Record>
std::unexpected<Error> no_such(std::string_view name) {
  return fail(ENOENT, fmt::format("{}: {}", name, ObjectKind<Record>::kNone),
              ObjectKind<Record>::kListed);
}

// ENOENT.
template <class Record>
Result<Record> find_by_name(std::vector<Record> records, std::string_view name) {
  for (Record& record : records) {
    if (record.name() == name) return std::move(record);
  }
  return no_such<Record>(name);
}

// The records of those labels that are live, or of those that aren't; in their order.
template <class Record>
std::vector<Record> records_of(const std::vector<Label<Record>>& labels, bool live) {
  std::vector<Record> records;
  records.reserve(labels.size());
  for (const Label<Record>& label : labels) {
    if (label.live == live) records.push_back(label.record);
  }
  return records;
}

// The steps of one object. `pool` and `record` must outlive it.
template <class Record>
class Pool::Life {
 public:
  Life(Pool& pool, const Record& record) : pool_(pool), record_(record) {}

  // From a new label that is not live to an object that is there: Pool::make(), whose last step is
  // show(). Erases what an error leaves; what can't be erased waits for the next open.
  Result<void> create() PMEMD_EXCLUDES(pool_.mutex_);
  // The label becomes live, durably.
  Result<void> show() PMEMD_EXCLUDES(pool_.mutex_);
  // From an object that is there to nothing. ENOENT. EBUSY: it is a leg of a volume. After any
  // other error: if it is still listed, nothing has happened; if not, it is noted.
  Result<void> destroy() PMEMD_EXCLUDES(pool_.mutex_);
  // The rest of destroy() when the label is not live: Pool::erase(), whose last step is
  // delete_label(). Notes what can't be erased, for Pool::finish_erasures().
  Result<void> erase_or_note() PMEMD_EXCLUDES(pool_.mutex_);
  Result<void> delete_label() PMEMD_EXCLUDES(pool_.mutex_);

  // In the database only; not yet durable.
  Result<void> mark_live() { return run(ObjectKind<Record>::kMarkLive); }
  Result<void> mark_not_live() { return run(ObjectKind<Record>::kMarkNotLive); }

  Label<Record>* label_in(Labels& labels) const;  // null: there is none

 private:
  template <class Statements>
  Result<void> run(const Statements& statements);
  bool is_mine(const Label<Record>& label) const {
    return label.record.*ObjectKind<Record>::kKey == record_.*ObjectKind<Record>::kKey;
  }

  Pool& pool_;
  const Record& record_;
};

template <class Record>
Result<void> Pool::Life<Record>::create() {
  auto made = or_no_memory([&]() -> Result<void> {
    PMEMD_TRY(pool_.database_->sync());
    return pool_.make(record_);
  });
  if (made) return made;
  const MustAllocate as_before;
  if (or_no_memory([&] { return mark_not_live(); })) (void)erase_or_note();
  return made;
}

template <class Record>
Result<void> Pool::Life<Record>::show() {
  PMEMD_TRY(mark_live());
  PMEMD_TRY(pool_.database_->sync());
  MutexLock lock(pool_.mutex_);
  label_in(pool_.labels_)->live = true;
  return {};
}

template <class Record>
Result<void> Pool::Life<Record>::destroy() {
  Record known;
  {
    MutexLock lock(pool_.mutex_);
    Label<Record>* const mine = label_in(pool_.labels_);
    if (mine == nullptr || !mine->live) return no_such<Record>(record_.name());
    if (const VolumeLabel* const volume = pool_.labels_.volume_of(record_.serial)) {
      return fail(EBUSY,
                  fmt::format("{}: it is a leg of {}", record_.name(), volume->record.name()),
                  "pmemctl destroy-volume " + volume->record.name());
    }
    known = mine->record;
    mine->live = false;
  }
  if (auto marked = or_no_memory([&] { return mark_not_live(); }); !marked) {
    MutexLock lock(pool_.mutex_);
    label_in(pool_.labels_)->live = true;
    return marked;
  }
  return Life(pool_, known).erase_or_note();
}

template <class Record>
Result<void> Pool::Life<Record>::erase_or_note() {
  const MustAllocate erased_or_noted;
  auto erased = or_no_memory([&] { return pool_.erase(record_); });
  if (erased) return erased;
  MutexLock lock(pool_.mutex_);
  std::get<std::vector<Record>>(pool_.half_erased_).push_back(record_);
  return fail(erased.err(),
              fmt::format("{}: destroyed, but {}: {}", record_.name(), ObjectKind<Record>::kLeft,
                          erased.error().describe()),
              ObjectKind<Record>::kAgain);
}

template <class Record>
Result<void> Pool::Life<Record>::delete_label() {
  PMEMD_TRY(run(ObjectKind<Record>::kDelete));
  MutexLock lock(pool_.mutex_);
  std::erase_if(pool_.labels_.*ObjectKind<Record>::kLabels,
                [&](const Label<Record>& other) { return is_mine(other); });
  return {};
}

template <class Record>
Label<Record>* Pool::Life<Record>::label_in(Labels& labels) const {
  auto& all = labels.*ObjectKind<Record>::kLabels;
  const auto found =
      std::ranges::find_if(all, [&](const Label<Record>& label) { return is_mine(label); });
  return found == all.end() ? nullptr : &*found;
}

template <class Record>
template <class Statements>
Result<void> Pool::Life<Record>::run(const Statements& statements) {
  Transaction transaction(*pool_.database_);
  PMEMD_TRY(transaction.begin());
  for (const char* const sql : statements) {
    PMEMD_ASSIGN(Statement statement, pool_.database_->prepare(sql));
    PMEMD_TRY(statement.bind(0, static_cast<int64_t>(record_.*ObjectKind<Record>::kKey)).run());
  }
  return transaction.commit();
}

}  // namespace pmemd
