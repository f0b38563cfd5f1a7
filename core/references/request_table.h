// Lists the requests in flight, to show why something doesn't finish. Waiting for them to end is
// done elsewhere (core/base/srcu.h); this table only reports them.
//
// A request takes one of a fixed number of slots: no lock, no allocation. If none is free, it isn't
// listed.
//
// Thread contract: any thread. list() is a snapshot: a request that ends meanwhile may be left out,
// or mixed with the one that follows it.
#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <utility>
#include <vector>

#include "core/references/reference.h"

namespace pmemd {

// Whose request it is; `what` is a string that is never freed.
struct RequestOrigin {
  const char* what = "";
  pid_t pid = 0;
  uint64_t ino = 0;
  FileRange range = {};
};

class RequestTable {
 private:
  // A cache line each: the threads that serve requests write their own.
  struct alignas(64) Slot {
    std::atomic<int64_t> since_ns = 0;  // since the epoch; 0: free
    std::atomic<const char*> what = nullptr;
    std::atomic<uint64_t> ino = 0;
    std::atomic<uint64_t> begin = 0;
    std::atomic<uint64_t> end = 0;
    std::atomic<pid_t> pid = 0;
  };

 public:
  static constexpr size_t kSlots = 64;

  RequestTable() = default;
  RequestTable(const RequestTable&) = delete;
  RequestTable& operator=(const RequestTable&) = delete;

  // RAII; movable. An empty one belongs to no request.
  class Entry {
   public:
    Entry() = default;
    Entry(Entry&& other) noexcept : slot_(std::exchange(other.slot_, nullptr)) {}
    Entry& operator=(Entry&& other) noexcept {
      if (this != &other) {
        leave();
        slot_ = std::exchange(other.slot_, nullptr);
      }
      return *this;
    }
    ~Entry() { leave(); }

   private:
    friend class RequestTable;
    explicit Entry(Slot* slot) : slot_(slot) {}
    void leave() {
      if (slot_ != nullptr) slot_->since_ns.store(0, std::memory_order_release);
    }
    Slot* slot_ = nullptr;
  };

  Entry enter(const RequestOrigin& origin);
  // The oldest first.
  std::vector<Reference> list() const;

 private:
  std::array<Slot, kSlots> slots_;
};

}  // namespace pmemd
