#include "core/references/claim_table.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "core/base/memory.h"

namespace pmemd {

ClaimTable::~ClaimTable() { assert(counts_.pins == 0); }

void ClaimTable::open() {
  MutexLock lock(mutex_);
  is_open_ = true;
}

bool ClaimTable::close(bool only_if_idle) {
  MutexLock lock(mutex_);
  if (only_if_idle && counts_.handles != 0) return false;
  is_open_ = false;
  return true;
}

std::optional<uint64_t> ClaimTable::add_handle(uint64_t ino, pid_t pid, bool writable,
                                               Charge charge, bool noatime) {
  const auto now = std::chrono::system_clock::now();
  const MustAllocate whole;
  MutexLock lock(mutex_);
  if (!is_open_) return std::nullopt;
  const uint64_t id = next_id_++;
  handles_.emplace(id, Handle{.reference = {.kind = ReferenceKind::kHandle,
                                            .id = id,
                                            .pid = pid,
                                            .ino = ino,
                                            .range = kWholeFile,
                                            .since = now},
                              .writable = writable,
                              .noatime = noatime,
                              .charge = std::move(charge)});
  if (writable) ++writers_[ino];
  ++counts_.handles;
  return id;
}

void ClaimTable::remove_handle(uint64_t handle) {
  const MustAllocate whole;
  std::vector<Claim> gone;
  MutexLock lock(mutex_);
  const auto it = handles_.find(handle);
  if (it == handles_.end()) return;
  const std::set<uint64_t> claims = std::move(it->second.claims);
  gone.reserve(claims.size());
  for (const uint64_t id : claims) gone.push_back(take(claims_.find(id)));
  if (it->second.writable) {
    const auto writers = writers_.find(it->second.reference.ino);
    if (--writers->second == 0) writers_.erase(writers);
  }
  handles_.erase(it);
  if (--counts_.handles == 0) changed_cv_.notify_all();
}

bool ClaimTable::has_handle(uint64_t handle) const {
  MutexLock lock(mutex_);
  return handles_.contains(handle);
}

bool ClaimTable::is_writable(uint64_t handle) const {
  MutexLock lock(mutex_);
  const auto it = handles_.find(handle);
  return it != handles_.end() && it->second.writable;
}

std::vector<uint64_t> ClaimTable::handles() const {
  std::vector<uint64_t> ids;
  MutexLock lock(mutex_);
  ids.reserve(handles_.size());
  for (const auto& [id, handle] : handles_) ids.push_back(id);
  return ids;
}

uint64_t ClaimTable::handle_count() const {
  MutexLock lock(mutex_);
  return counts_.handles;
}

bool ClaimTable::is_noatime(uint64_t handle) const {
  MutexLock lock(mutex_);
  const auto it = handles_.find(handle);
  return it != handles_.end() && it->second.noatime;
}

std::vector<uint64_t> ClaimTable::open_inodes() const {
  std::set<uint64_t> found;
  {
    MutexLock lock(mutex_);
    for (const auto& [id, handle] : handles_) found.insert(handle.reference.ino);
  }
  return {found.begin(), found.end()};
}

bool ClaimTable::has_writer(uint64_t ino) const {
  MutexLock lock(mutex_);
  return writers_.contains(ino);
}

Result<uint64_t> ClaimTable::add_mapping(uint64_t handle, pid_t pid, FileRange range,
                                         uint64_t address, Charge charge) {
  return add({.reference = {.kind = ReferenceKind::kMapping,
                            .handle = handle,
                            .pid = pid,
                            .range = range,
                            .address = address},
              .charge = std::move(charge)});
}

Result<uint64_t> ClaimTable::add_takeover(uint64_t handle, pid_t pid, FileRange range,
                                          std::chrono::milliseconds timeout, Charge charge) {
  return add({.reference = {.kind = ReferenceKind::kTakeover,
                            .handle = handle,
                            .pid = pid,
                            .range = range,
                            .timeout = timeout},
              .charge = std::move(charge)});
}

Result<uint64_t> ClaimTable::add_pin(uint64_t handle, pid_t pid, FileRange range,
                                     PercpuRef::Ref ref, Charge charge) {
  if (!ref) return fail(ENODEV);
  return add(
      {.reference = {.kind = ReferenceKind::kPin, .handle = handle, .pid = pid, .range = range},
       .ref = std::move(ref),
       .charge = std::move(charge)});
}

uint64_t& ClaimTable::count(ReferenceKind kind) {
  if (kind == ReferenceKind::kPin) return counts_.pins;
  return kind == ReferenceKind::kMapping ? counts_.mappings : counts_.takeovers;
}

template <class Visitor>
void ClaimTable::visit(ReferenceKind kind, const std::optional<ReferenceFilter>& only,
                       Visitor visitor) const {
  auto it = only ? by_file_.lower_bound({only->ino, kind, 0}) : by_file_.begin();
  for (; it != by_file_.end(); ++it) {
    const auto& [ino, its_kind, id] = *it;
    if (only && (ino != only->ino || its_kind != kind)) break;
    const Reference& reference = claims_.at(id).reference;
    if (its_kind == kind && (!only || only->matches(reference))) visitor(reference);
  }
}

bool ClaimTable::is_taken_over_by_others(const Reference& wanted) const {
  bool is_taken = false;
  visit(ReferenceKind::kTakeover, ReferenceFilter{wanted.ino, wanted.range},
        [&](const Reference& other) { is_taken = is_taken || other.handle != wanted.handle; });
  return is_taken;
}

Result<uint64_t> ClaimTable::add(Claim claim) {
  Reference& reference = claim.reference;
  if (reference.range.empty()) return fail(EINVAL);
  reference.since = std::chrono::system_clock::now();
  const MustAllocate whole;
  MutexLock lock(mutex_);
  const auto it = handles_.find(reference.handle);
  if (it == handles_.end()) return fail(EBADF);
  if (!is_open_) return fail(ENODEV);
  reference.ino = it->second.reference.ino;
  if (reference.kind == ReferenceKind::kTakeover && is_taken_over_by_others(reference)) {
    return fail(EEXIST);
  }
  const uint64_t id = next_id_++;
  reference.id = id;
  ++count(reference.kind);
  it->second.claims.insert(id);
  by_file_.emplace(reference.ino, reference.kind, id);
  by_process_.emplace(reference.pid, id);
  claims_.emplace(id, std::move(claim));
  return id;
}

ClaimTable::Claim ClaimTable::take(Claims::iterator claim) {
  Claim taken = std::move(claim->second);
  const Reference& reference = taken.reference;
  claims_.erase(claim);
  by_file_.erase({reference.ino, reference.kind, reference.id});
  by_process_.erase({reference.pid, reference.id});
  const auto handle = handles_.find(reference.handle);
  if (handle != handles_.end()) handle->second.claims.erase(reference.id);
  if (--count(reference.kind) == 0) changed_cv_.notify_all();
  return taken;
}

Result<void> ClaimTable::remove(uint64_t handle, ReferenceKind kind, uint64_t id) {
  Claim gone;
  MutexLock lock(mutex_);
  const auto it = claims_.find(id);
  if (it == claims_.end() || it->second.reference.handle != handle ||
      it->second.reference.kind != kind) {
    return fail(ENOENT);
  }
  gone = take(it);
  return {};
}

std::vector<Reference> ClaimTable::remove_process(pid_t pid) {
  const MustAllocate whole;
  std::vector<Claim> gone;
  std::vector<Reference> told;
  MutexLock lock(mutex_);
  for (auto it = by_process_.lower_bound({pid, 0}); it != by_process_.end() && it->first == pid;) {
    const auto claim = claims_.find((it++)->second);
    told.push_back(claim->second.reference);
    gone.push_back(take(claim));
  }
  return told;
}

uint64_t ClaimTable::remove_pins() {
  const MustAllocate whole;
  std::vector<Claim> gone;
  MutexLock lock(mutex_);
  for (auto it = claims_.begin(); it != claims_.end();) {
    const auto claim = it++;
    if (claim->second.reference.kind == ReferenceKind::kPin) gone.push_back(take(claim));
  }
  return gone.size();
}

bool ClaimTable::is_pinned(uint64_t ino, FileRange range) const {
  bool found = false;
  MutexLock lock(mutex_);
  if (counts_.pins == 0) return false;
  visit(ReferenceKind::kPin, ReferenceFilter{ino, range}, [&](const Reference&) { found = true; });
  return found;
}

bool ClaimTable::has_claim(uint64_t handle, uint64_t id) const {
  MutexLock lock(mutex_);
  const auto it = claims_.find(id);
  return it != claims_.end() && it->second.reference.handle == handle;
}

std::vector<Reference> ClaimTable::find(ReferenceKind kind,
                                        const std::optional<ReferenceFilter>& only) const {
  std::vector<Reference> found;
  MutexLock lock(mutex_);
  visit(kind, only, [&](const Reference& reference) { found.push_back(reference); });
  return found;
}

bool ClaimTable::wait_for_zero(const uint64_t& count, Deadline deadline) {
  while (count != 0) {
    if (interrupted_) return false;
    if (!changed_cv_.wait_until(mutex_, deadline)) return count == 0;
  }
  return true;
}

bool ClaimTable::wait_handles_closed(Deadline deadline) {
  MutexLock lock(mutex_);
  return wait_for_zero(counts_.handles, deadline);
}

bool ClaimTable::wait_unpinned(Deadline deadline) {
  MutexLock lock(mutex_);
  return wait_for_zero(counts_.pins, deadline);
}

void ClaimTable::interrupt() {
  MutexLock lock(mutex_);
  interrupted_ = true;
  changed_cv_.notify_all();
}

ClaimTable::Counts ClaimTable::counts() const {
  MutexLock lock(mutex_);
  return counts_;
}

std::vector<Reference> ClaimTable::list() const {
  std::vector<Reference> found;
  MutexLock lock(mutex_);
  found.reserve(handles_.size() + claims_.size());
  for (const auto& [id, handle] : handles_) found.push_back(handle.reference);
  for (const auto& [id, claim] : claims_) found.push_back(claim.reference);
  std::ranges::sort(found, {}, &Reference::id);
  return found;
}

}  // namespace pmemd
