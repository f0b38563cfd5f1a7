// The pages of a device's memory that a content has given to processes, besides what is lent and
// pinned: buffers of a p2p pool, and the device pages of private memory. Each page holds one
// reference of the pagemap. A content that gives none uses this class as it is.
//
// Thread contract: any thread; whatever may wait, or asks the kernel: one that serves no requests.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "core/base/error.h"
#include "core/base/mutex.h"
#include "core/base/user_budget.h"
#include "core/range/range.h"
#include "core/references/reference_table.h"

namespace pmemd {

struct P2pBuffer;

class GivenPages {
 public:
  GivenPages() = default;
  virtual ~GivenPages() = default;
  GivenPages(const GivenPages&) = delete;
  GivenPages& operator=(const GivenPages&) = delete;

  // References of the pagemap that these pages hold.
  virtual uint64_t held() const { return 0; }
  // Adds them to a list of at most `limit`; `only`: just those that match.
  virtual void add_references(ReferenceTable::List& /*list*/, size_t /*limit*/,
                              const std::optional<ReferenceFilter>& /*only*/) const {}

  // --- private memory (core/device/private_memory.h); elsewhere ENOTTY

  // Moves pages of the file to the device; returns how many went. `take_away` takes the range out
  // of the kernel's page cache; its errors are returned. Others: PrivateMemory::begin_migrate().
  virtual Result<uint64_t> migrate_to_device(FileRange range,
                                             const std::function<Result<void>()>& take_away);
  // The device is dying: brings all pages back. Returns how many; elsewhere 0.
  // Errors: those of PrivateMemory::migrate_all_to_ram().
  virtual Result<uint64_t> migrate_to_ram(Deadline /*deadline*/) { return 0; }

  // --- buffers (core/device/p2p_pool.h); without a pool, alloc() and begin_return() are ENOTTY

  virtual Result<FileRange> alloc(uint64_t handle, pid_t pid, uint64_t length,
                                  UserBudget::Charge charge = {});
  virtual Result<void> begin_return(uint64_t handle, uint64_t offset);
  virtual uint64_t begin_return_of_all() { return 0; }
  // The handle is closed, the process has ended: its buffers begin to return.
  virtual void handle_gone(uint64_t /*handle*/) {}
  virtual void process_gone(pid_t /*pid*/) {}
  // Those that wait for finish_return() now.
  virtual std::vector<P2pBuffer> returning() const;
  virtual Result<void> finish_return(uint64_t id);
  virtual uint64_t buffers() const { return 0; }  // out or returning

  // Waits until no buffer is out or returning. False: the deadline passed first, or
  // interrupt_waits() was called, which ends all such waits for good.
  [[nodiscard]] virtual bool wait_empty(Deadline /*deadline*/) { return true; }
  virtual void interrupt_waits() {}
  // The device is dead: the same, but isn't interrupted. ETIMEDOUT.
  virtual Result<void> wait_returned(Deadline /*deadline*/) { return {}; }
};

}  // namespace pmemd
