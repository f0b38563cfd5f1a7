// A thread announces here that it may have to wait: for a lock that another holds, or for the
// host's storage. A thread that must not delay other work sets a hook, which then hands that work
// on (daemon/fuse/request_readers.h). Modelled on what Go's scheduler does when a thread enters a
// system call (runtime/proc.go handoffp()).
//
// All waits pass through the places that announce them: Mutex and CondVar, MappedImage, the host's
// files of a Database. Code above them need not know, unless it does very much at once.
//
// Thread contract: everything here concerns the calling thread alone.
#pragma once

namespace pmemd {

class BlockingHook {
 public:
  virtual ~BlockingHook() = default;
  // May be called with any lock held, and often: must take no lock and wait for nothing.
  virtual void about_to_block() noexcept = 0;
};

inline constinit thread_local BlockingHook* t_blocking_hook = nullptr;

inline void about_to_block() noexcept {
  if (t_blocking_hook != nullptr) t_blocking_hook->about_to_block();
}

}  // namespace pmemd
