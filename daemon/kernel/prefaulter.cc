#include "daemon/kernel/prefaulter.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "core/base/memory.h"
#include "core/base/units.h"

namespace pmemd {
namespace {

constexpr std::chrono::seconds kCallTimeout{60};
// The most that one READ can ask for (FUSE's max_pages); a failed READ gives none of it.
constexpr uint64_t kReadBytes = kMiB;

}  // namespace

Prefaulter::Prefaulter(Ports ports) : ports_(std::move(ports)), thread_([this] { run(); }) {}

Prefaulter::~Prefaulter() {
  {
    MutexLock lock(mutex_);
    stop_ = true;
    work_cv_.notify_all();
  }
  thread_.join();
}

void Prefaulter::read_ahead_later(Wanted wanted) {
  MutexLock lock(mutex_);
  if (queue_.size() >= kMaxQueued) {
    dropped_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  queue_.push_back({.wanted = std::move(wanted), .keep_free_bytes = {}, .done = {}});
  work_cv_.notify_one();
}

Result<uint64_t> Prefaulter::prefault(Wanted wanted, uint64_t keep_free_bytes) {
  auto done = std::make_shared<std::promise<Result<uint64_t>>>();
  auto result = done->get_future();
  {
    MutexLock lock(mutex_);
    if (queue_.size() >= 2 * kMaxQueued) {
      return fail(EBUSY, "too much waits to be read ahead", "try again");
    }
    queue_.push_back({std::move(wanted), keep_free_bytes, std::move(done)});
    work_cv_.notify_one();
  }
  if (result.wait_for(kCallTimeout) != std::future_status::ready) {
    return fail(ETIMEDOUT, "reading ahead takes too long");
  }
  return result.get();
}

std::optional<Prefaulter::Job> Prefaulter::next(bool waits) {
  MutexLock lock(mutex_);
  while (queue_.empty() && waits && !stop_) work_cv_.wait(mutex_);
  if (queue_.empty()) return std::nullopt;
  Job job = std::move(queue_.front());
  queue_.pop_front();
  return job;
}

void Prefaulter::run() {
  pthread_setname_np(pthread_self(), "prefault");
  tid_.store(gettid(), std::memory_order_relaxed);
  while (true) {
    auto job = next(/*waits=*/false);
    if (!job) {
      open_fd_.reset();
      job = next(/*waits=*/true);
    }
    if (!job) return;
    auto outcome = or_no_memory([&] { return work(*job); });
    if (job->done) {
      job->done->set_value(std::move(outcome));
    } else {
      (outcome ? hot_ranges_ : dropped_).fetch_add(1, std::memory_order_relaxed);
    }
  }
}

Result<void> Prefaulter::open(const Wanted& wanted) {
  if (open_fd_ && open_ino_ == wanted.ino) return {};
  open_fd_ = ports_.open(wanted.ino, wanted.path);
  open_ino_ = wanted.ino;
  if (!open_fd_) return fail_errno(fmt::format("open of inode {}", wanted.ino));
  window_bytes_ = ports_.window_bytes();
  // Only what we advise is read ahead.
  posix_fadvise(open_fd_.get(), 0, 0, POSIX_FADV_RANDOM);
  return {};
}

void Prefaulter::advise(FileRange step) const {
  for (uint64_t at = step.begin; at < step.end; at += window_bytes_) {
    const uint64_t length = std::min(window_bytes_, step.end - at);
    posix_fadvise(open_fd_.get(), static_cast<off_t>(at), static_cast<off_t>(length),
                  POSIX_FADV_WILLNEED);
  }
}

// Waits until the READs that make up the step have been answered, by reading a byte of each.
// Returns how many bytes are in READs that failed.
uint64_t Prefaulter::wait(FileRange step) const {
  uint64_t failed = 0;
  for (uint64_t at = step.begin; at < step.end;) {
    const uint64_t end = std::min(align_down(at, kReadBytes) + kReadBytes, step.end);
    char byte = 0;
    const ssize_t got = pread(open_fd_.get(), &byte, 1, static_cast<off_t>(end - 1));
    if (got == 0) break;  // past the end
    if (got < 0) failed += end - at;
    at = end;
  }
  return failed;
}

Result<void> Prefaulter::check_memory(const Job& job, FileRange step) const {
  PMEMD_ASSIGN(const HostMemory memory, ports_.memory());
  const uint64_t keep = job.keep_free_bytes.value_or(reserve_of(memory));
  if (memory.available_bytes >= keep + step.length()) return {};
  return fail(ENOMEM, fmt::format("the host has {} left", format_size(memory.available_bytes)),
              "--keep-free says how much must stay");
}

// One step is in progress while we wait for the one before it.
Result<uint64_t> Prefaulter::work(const Job& job) {
  if (stop_) return fail(ECANCELED, "the daemon is stopping");
  PMEMD_TRY(open(job.wanted));
  const FileRange range = job.wanted.range;
  uint64_t failed = 0;
  FileRange before;
  for (uint64_t at = range.begin; at < range.end;) {
    const FileRange step = {at, std::min(align_down(at, kStepBytes) + kStepBytes, range.end)};
    if (stop_) return fail(ECANCELED, "the daemon is stopping");
    PMEMD_TRY(check_memory(job, step));
    advise(step);
    failed += wait(before);
    before = step;
    at = step.end;
  }
  return failed + wait(before);
}

}  // namespace pmemd
