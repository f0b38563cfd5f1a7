#include "core/device/p2p_pool.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <utility>

#include "core/base/memory.h"

namespace pmemd {

P2pPool::~P2pPool() { assert(ref_ == nullptr); }

void P2pPool::attach(PercpuRef& ref, ByteStore& memory) {
  MutexLock lock(mutex_);
  assert(ref_ == nullptr && buffers_.empty() && taken_bytes_ == 0);
  ref_ = &ref;
  memory_ = &memory;
  free_.clear();
  free_.insert({0, size_bytes_});
}

void P2pPool::detach() {
  MutexLock lock(mutex_);
  assert(buffers_.empty() && taken_bytes_ == 0);
  ref_ = nullptr;
  memory_ = nullptr;
}

Result<FileRange> P2pPool::take(uint64_t length, ByteStore*& memory) {
  if (length == 0 || !is_aligned(length, kPageSize) || length > size_bytes_) {
    return fail(EINVAL, fmt::format("{}: a buffer of {} bytes", name_, length));
  }
  MutexLock lock(mutex_);
  FileRange found;
  free_.for_each([&](FileRange range) {
    if (found.empty() && range.length() >= length) found = FileRange::sized(range.begin, length);
  });
  const auto gone = [&] { return fail(ENXIO, fmt::format("{}: the device is gone", name_)); };
  if (ref_ == nullptr || ref_->is_dying()) return gone();
  if (found.empty()) {
    return fail(ENOMEM, fmt::format("{}: no room for a buffer of {} bytes", name_, length));
  }
  const MustAllocate all_or_nothing;
  // References for all of its pages or none, so that no kill comes in between.
  if (!ref_->tryget_live_many(length / kPageSize)) return gone();
  free_.erase(found);
  taken_bytes_ += length;
  memory = memory_;
  return found;
}

void P2pPool::give_back(FileRange range, bool clean) {
  PercpuRef* ref = nullptr;
  {
    MutexLock lock(mutex_);
    ref = ref_;
    taken_bytes_ -= range.length();
    if (clean) free_.insert(range);
    changed_cv_.notify_all();
  }
  ref->put_many(range.length() / kPageSize);
}

Result<FileRange> P2pPool::alloc(uint64_t handle, pid_t pid, uint64_t length,
                                 UserBudget::Charge charge) {
  ByteStore* memory = nullptr;
  PMEMD_ASSIGN(const FileRange range, take(length, memory));
  if (auto allocated = memory->allocate(range.begin, length); !allocated) {
    give_back(range, true);
    return std::unexpected(std::move(allocated).error());
  }
  const MustAllocate it_is_taken;
  MutexLock lock(mutex_);
  const uint64_t id = next_id_++;
  buffers_.emplace(id, Buffer{{.id = id,
                               .range = range,
                               .handle = handle,
                               .pid = pid,
                               .since = std::chrono::system_clock::now()},
                              std::move(charge)});
  out_.insert(range);
  return range;
}

bool P2pPool::contains(FileRange range) const {
  MutexLock lock(mutex_);
  return out_.contains(range);
}

uint64_t P2pPool::begin_return_if(const std::function<bool(const P2pBuffer&)>& wanted) {
  MutexLock lock(mutex_);
  uint64_t count = 0;
  for (auto& [id, entry] : buffers_) {
    P2pBuffer& buffer = entry.buffer;
    if (buffer.is_returning || !wanted(buffer)) continue;
    buffer.is_returning = true;
    out_.erase(buffer.range);
    ++count;
  }
  return count;
}

Result<void> P2pPool::begin_return(uint64_t handle, uint64_t offset) {
  const uint64_t count = begin_return_if([&](const P2pBuffer& buffer) {
    return buffer.handle == handle && buffer.range.begin == offset;
  });
  if (count == 0) return fail(ENOENT, fmt::format("{}: no buffer at {:#x}", name_, offset));
  return {};
}

uint64_t P2pPool::begin_return_of_handle(uint64_t handle) {
  return begin_return_if([&](const P2pBuffer& buffer) { return buffer.handle == handle; });
}
uint64_t P2pPool::begin_return_of_process(pid_t pid) {
  return begin_return_if([&](const P2pBuffer& buffer) { return buffer.pid == pid; });
}
uint64_t P2pPool::begin_return_of_all() {
  return begin_return_if([](const P2pBuffer&) { return true; });
}

Result<void> P2pPool::finish_return(uint64_t id) {
  FileRange range;
  ByteStore* memory = nullptr;
  {
    MutexLock lock(mutex_);
    const auto it = buffers_.find(id);
    if (it == buffers_.end() || !it->second.buffer.is_returning || it->second.is_finishing) {
      return {};
    }
    it->second.is_finishing = true;
    range = it->second.buffer.range;
    memory = memory_;
  }
  auto zeroed = memory->discard(range.begin, range.length());
  {
    MutexLock lock(mutex_);
    buffers_.erase(id);
  }
  give_back(range, zeroed.has_value());
  return zeroed;
}

bool P2pPool::wait_empty(Deadline deadline) { return wait(deadline, true); }
bool P2pPool::wait_returned(Deadline deadline) { return wait(deadline, false); }

bool P2pPool::wait(Deadline deadline, bool interruptible) {
  MutexLock lock(mutex_);
  while (taken_bytes_ != 0 && !(interruptible && interrupted_)) {
    if (!changed_cv_.wait_until(mutex_, deadline)) break;
  }
  return taken_bytes_ == 0;
}

void P2pPool::interrupt() {
  MutexLock lock(mutex_);
  interrupted_ = true;
  changed_cv_.notify_all();
}

P2pPool::Counts P2pPool::counts() const {
  MutexLock lock(mutex_);
  const uint64_t used = free_.bytes() + taken_bytes_;
  return {.buffers = buffers_.size(),
          .pages = taken_bytes_ / kPageSize,
          .free_bytes = free_.bytes(),
          .lost_bytes = ref_ == nullptr ? 0 : size_bytes_ - used};
}

std::vector<P2pBuffer> P2pPool::list() const {
  std::vector<P2pBuffer> found;
  MutexLock lock(mutex_);
  found.reserve(buffers_.size());
  for (const auto& [id, entry] : buffers_) found.push_back(entry.buffer);
  return found;
}

std::vector<P2pBuffer> P2pPool::returning() const {
  auto found = list();
  std::erase_if(found, [](const P2pBuffer& buffer) { return !buffer.is_returning; });
  return found;
}

}  // namespace pmemd
