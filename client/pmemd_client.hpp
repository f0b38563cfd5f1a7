// pmemd_client.h for C++17 and later: registrations as objects. No exceptions, nothing to link but
// libpmemd-client. Results are errno values; 0 is success.
#ifndef PMEMD_CLIENT_HPP
#define PMEMD_CLIENT_HPP

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <new>
#include <utility>

#include "pmemd_client.h"

namespace pmemd::client {

// Returns the answer, as pmemd_callback.
using EventFunction = std::function<int(const pmemd_event&)>;

// A registered mapping or takeover. The destructor ends it, and waits until its function has
// finished. Thread contract: an object belongs to one thread at a time; its function runs on the
// library's thread.
class Registration {
 public:
  Registration() = default;
  Registration(Registration&& other) noexcept
      : function_(std::move(other.function_)), handle_(std::exchange(other.handle_, nullptr)) {}
  Registration& operator=(Registration&& other) noexcept {
    if (this == &other) return *this;
    end();
    function_ = std::move(other.function_);
    handle_ = std::exchange(other.handle_, nullptr);
    return *this;
  }
  ~Registration() { end(); }

  // As pmemd_register() and pmemd_register_takeover(): 0 or the errno. Ends an earlier registration
  // first.
  int map(int fd, uint64_t offset, uint64_t length, void* address, EventFunction function) {
    if (!begin(std::move(function))) return ENOMEM;
    return began(pmemd_register(fd, offset, length, address, call, function_.get(), &handle_));
  }
  int take_over(int fd, uint64_t offset, uint64_t length, uint32_t timeout_ms,
                EventFunction function) {
    if (!begin(std::move(function))) return ENOMEM;
    return began(
        pmemd_register_takeover(fd, offset, length, timeout_ms, call, function_.get(), &handle_));
  }

  // Must not be called from its own function: that would end the function while it runs.
  void end() {
    pmemd_unregister(std::exchange(handle_, nullptr));
    function_.reset();
  }

  explicit operator bool() const { return handle_ != nullptr; }

 private:
  static int call(const pmemd_event* event, void* context) {
    return (*static_cast<EventFunction*>(context))(*event);
  }
  bool begin(EventFunction function) {
    end();
    function_.reset(new (std::nothrow) EventFunction(std::move(function)));
    return function_ != nullptr;
  }
  int began(int result) {
    if (result != 0) function_.reset();
    return -result;
  }

  // Keeps its address when the object moves: the library has it.
  std::unique_ptr<EventFunction> function_;
  pmemd_registration* handle_ = nullptr;
};

struct Copied {
  int error;  // 0 or the errno
  size_t bytes;
};

// Copies from or to memory that may fail.
inline Copied read_guarded(void* to, const void* from, size_t bytes) noexcept {
  size_t done = 0;
  const int result = pmemd_read_guarded(to, from, bytes, &done);
  return {-result, done};
}
inline Copied write_guarded(void* to, const void* from, size_t bytes) noexcept {
  size_t done = 0;
  const int result = pmemd_write_guarded(to, from, bytes, &done);
  return {-result, done};
}

}  // namespace pmemd::client

#endif
