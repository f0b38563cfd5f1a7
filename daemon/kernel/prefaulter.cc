#include "daemon/kernel/prefaulter.h"

#include <fcntl.h>
#include <fmt/format.h>
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

bool Prefaulter::may_wait(size_t most) {
  if (waiting_.fetch_add(1) < most) return true;
  --waiting_;
  return false;
}

// Queued behind the jobs that wait, so that one file's ranges need one open.
void Prefaulter::end() {
  worker_.submit_once({.owner = this}, [this] {
    if (waiting_ == 0) open_fd_.reset();
  });
}

void Prefaulter::read_ahead_later(Wanted wanted) {
  if (!may_wait(kMaxQueued)) {
    dropped_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  worker_.submit([this, wanted = std::move(wanted)] {
    begin();
    const auto read = or_no_memory([&] { return work(wanted, {}); });
    (read ? hot_ranges_ : dropped_).fetch_add(1, std::memory_order_relaxed);
    end();
  });
}

Result<uint64_t> Prefaulter::prefault(Wanted wanted, uint64_t keep_free_bytes) {
  if (!may_wait(2 * kMaxQueued)) {
    return fail(EBUSY, "too much waits to be read ahead", "try again");
  }
  auto read = worker_.call(
      [this, wanted = std::move(wanted), keep_free_bytes] {
        begin();
        auto done = or_no_memory([&] { return work(wanted, keep_free_bytes); });
        end();
        return done;
      },
      kCallTimeout);
  if (read.err() == ETIMEDOUT) return fail(ETIMEDOUT, "reading ahead takes too long");
  return read;
}

void Prefaulter::stop() {
  stop_ = true;
  const auto close = [this]() -> Result<void> {
    open_fd_.reset();
    return {};
  };
  (void)worker_.call(close, kCallTimeout);
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

Result<void> Prefaulter::check_memory(std::optional<uint64_t> keep_free_bytes,
                                      FileRange step) const {
  PMEMD_ASSIGN(const HostMemory memory, ports_.memory());
  const uint64_t keep = keep_free_bytes.value_or(reserve_of(memory));
  if (memory.available_bytes >= keep + step.length()) return {};
  return fail(ENOMEM, fmt::format("the host has {} left", format_size(memory.available_bytes)),
              "--keep-free says how much must stay");
}

// One step is in progress while we wait for the one before it.
Result<uint64_t> Prefaulter::work(const Wanted& wanted, std::optional<uint64_t> keep_free_bytes) {
  if (stop_) return fail(ECANCELED, "the daemon is stopping");
  PMEMD_TRY(open(wanted));
  const FileRange range = wanted.range;
  uint64_t failed = 0;
  FileRange before;
  for (uint64_t at = range.begin; at < range.end;) {
    const FileRange step = {at, std::min(align_down(at, kStepBytes) + kStepBytes, range.end)};
    if (stop_) return fail(ECANCELED, "the daemon is stopping");
    PMEMD_TRY(check_memory(keep_free_bytes, step));
    advise(step);
    failed += wait(before);
    before = step;
    at = step.end;
  }
  return failed + wait(before);
}

}  // namespace pmemd
