// One connection to the control socket: bytes in and out, both bounded.
//
// Output is replies, at most one at a time (the server reads no further call before it is sent),
// and events, of which a bounded number waits. A peer that reads more slowly than they come loses
// the newest; when it has caught up, it is told how many.
//
// Thread contract: the event loop's thread.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "core/base/error.h"
#include "core/base/unique_fd.h"
#include "core/control/varlink.h"
#include "daemon/control/socket.h"

namespace pmemd {

class ControlConnection {
 public:
  enum class State {
    kIdle,       // the next call may be read
    kBusy,       // a handler runs
    kStreaming,  // subscribed to events
    kClosing,    // will be closed when everything is written
  };

  ControlConnection(UniqueFd fd, Peer peer, size_t max_queued_events)
      : fd_(std::move(fd)), peer_(std::move(peer)), max_queued_events_(max_queued_events) {}

  int fd() const { return fd_.get(); }
  const Peer& peer() const { return peer_; }

  State state() const { return state_; }
  void set_state(State state) { state_ = state; }

  // Reads what has arrived, as far as there is room. ECONNRESET and the like: the peer is gone.
  Result<void> receive();
  bool input_ended() const { return input_ended_; }

  // As MessageSplitter::next().
  Result<std::optional<std::string>> next_message() { return input_.next(); }

  void send(std::string reply);

  // Shared: one text for all subscribers, so that thousands of queues don't cost thousands of
  // copies.
  using Event = std::shared_ptr<const std::string>;
  // Queues the event, or loses it if the queue stays full.
  void send_event(const Event& event);
  // `count` events were lost before they came here.
  void add_missed(uint64_t count) { missed_ += count; }

  // Writes as much as the socket takes. EPIPE and the like: the peer is gone.
  Result<void> flush();
  bool has_output() const { return !output_.empty(); }

 private:
  void tell_missed();

  const UniqueFd fd_;
  const Peer peer_;
  const size_t max_queued_events_;
  State state_ = State::kIdle;
  MessageSplitter input_{kMaxCallBytes};
  bool input_ended_ = false;
  std::deque<Event> output_;
  size_t written_ = 0;   // of output_.front()
  uint64_t missed_ = 0;  // events lost and not reported yet
};

}  // namespace pmemd
