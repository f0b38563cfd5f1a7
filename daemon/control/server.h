// The control socket's server: passes Varlink calls from peers to handlers, and events to
// subscribers.
//
// A call that reaches a handler has passed the interface's own checks: a known method, parameters
// of their types, a peer that may call it. The handler runs on one of a few threads, may take its
// time, and returns the reply's parameters or an error. GetInfo, GetInterfaceDescription and
// Monitor are answered here and have no handler. A method that streams progress has a Watch.
//
// Invariants:
//  1. Replies keep the order of calls: a connection has one call in progress at a time, and no
//     further one is read meanwhile. If the peer hangs up, a running handler goes on, its reply is
//     dropped, and calls that haven't begun are dropped, too.
//  2. Memory is bounded by the limits below, whatever peers send or fail to read.
//  3. publish() never waits for a subscriber, nor one subscriber for another.
//  4. No lock is held while a handler runs or a socket is written.
//  5. A call that runs out of memory is answered with ENOMEM. A client that can't be served for
//     lack of memory, and isn't owed a reply, is disconnected. No exception gets into the event
//     loop.
//  6. A subscriber gets every event that it wants once, in order, from the number that it asks for;
//     or is told how many it has missed.
//
// Thread contract: construction, stop() and destruction on the thread that runs the sd_event;
// publish(), changed() and stats() from any thread, handlers included; publish(): one call at a
// time, in order of `seq`.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <deque>
#include <expected>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "core/base/mutex.h"
#include "core/base/unique_fd.h"
#include "core/control/socket_path.h"
#include "core/control/varlink.h"
#include "core/events/event_filter.h"
#include "core/events/event_log.h"
#include "daemon/control/connection.h"
#include "daemon/control/handlers.h"
#include "daemon/control/socket.h"
#include "daemon/control/workers.h"

struct sd_event;
struct sd_event_source;

namespace pmemd {

struct Method;

// A streaming method's current state; called on the event loop, so it must not block. `done`: it is
// the last reply.
struct Progress {
  Json parameters = Json::object();
  bool done = false;
};
using Watch = std::function<std::expected<Progress, Refusal>(const Call&)>;
using Watches = std::map<std::string, Watch>;  // by a method's name: "WaitScrub"

struct ControlLimits {
  size_t connections = 12288;          // an eighth is root's and the daemon's own
  size_t connections_per_user = 1024;  // of users other than root and the daemon's own
  unsigned workers = 4;
  size_t queued_calls = 128;
  size_t queued_events = 1024;          // for one subscriber
  size_t published_events = 64 * 1024;  // not yet handed out by the event loop
};

struct ControlOptions {
  std::string path = default_control_path();
  std::string group;   // whose members may connect and change things; empty, or unknown: nobody's
  mode_t mode = 0660;  // the group's bits count only if the group exists
  ControlLimits limits;
  Watches watches;
  std::string mount_point;  // may precede a file that Monitor asks for
  // EventLog::read(); the log has every event before it is published here. Without it nothing is
  // replayed.
  std::function<Result<EventPage>(uint64_t since, size_t max_events)> replay;
  std::function<Result<Peer>(int fd)> identify = peer_of;
};

class ControlServer {
 public:
  // Listens at once; calls are served when `event` (which must outlive this) runs. A method without
  // a handler is MethodNotImplemented. Errors as ControlSocket::listen(), ControlWorkers::start().
  static Result<std::unique_ptr<ControlServer>> start(sd_event* event, ControlOptions options,
                                                      Handlers handlers);
  ~ControlServer();  // as stop(), but waits for handlers as long as they run

  // Sends the event to all subscribers that want it.
  void publish(const Event& event) PMEMD_EXCLUDES(mutex_);

  // A Watch's progress may have changed.
  void changed();

  struct Stats {
    uint64_t connections = 0;  // open now
    uint64_t subscribers = 0;  // of these
    uint64_t calls = 0;        // handed to handlers so far
    uint64_t events = 0;       // published so far
  };
  Stats stats() const;

  // Removes the socket, drops the calls that haven't begun, waits for the running handlers, sends
  // their replies, and closes all connections. ETIMEDOUT: some still ran at the deadline.
  Result<void> stop(Deadline deadline);

  const std::string& path() const { return socket_.path(); }

 private:
  struct SourceDeleter {
    void operator()(sd_event_source* source) const;
  };
  using Source = std::unique_ptr<sd_event_source, SourceDeleter>;

  // What a client in state kStreaming receives: events, or the progress of `watch`.
  struct Stream {
    std::shared_ptr<const EventFilter> filter = {};
    bool follow = true;        // else it ends when it is live
    bool replays = false;      // not live yet
    bool page_wanted = false;  // in page_queue_, or being read
    uint64_t since = 0;        // events up to it were replayed
    const Watch* watch = nullptr;
    Call call = {};
    std::string told = {};  // the last reply
  };
  struct Client {
    const uint64_t id;  // never reused: a late reply can't reach another client
    ControlConnection connection;
    uint32_t awaited;  // epoll's events, beside those that always come
    Stream stream = {};
  };
  struct Published {
    std::shared_ptr<const Event> event;
    ControlConnection::Event text;
  };
  struct Page {
    uint64_t client = 0;
    std::string text;
    uint64_t through = 0;
    bool is_last = false;
    std::string error;  // instead
  };
  struct Completion {
    uint64_t client;
    std::string reply;  // empty: no reply wanted
  };

  ControlServer(sd_event* event, ControlOptions options, Handlers handlers, ControlSocket socket,
                std::unique_ptr<ControlWorkers> workers, UniqueFd wakeup, UniqueFd clients_epoll);
  Result<void> add_sources();

  // Accepting.
  void accept_some();
  void add_client(UniqueFd fd);
  Result<Peer> admit(int fd);
  void pause_accepting();
  void remove_client(uint64_t id);

  // Serving. Each but the first may remove the client.
  void serve_some();
  void serve_or_hang_up(Client& client);
  void on_ready(Client& client, uint32_t events);
  void serve(Client& client);
  void update(Client& client, bool again);
  void handle(Client& client, std::string_view message);
  void answer_call(Client& client, Call call);
  void dispatch(Client& client, const Method& method, Call call);
  void stream(Client& client, const Method& method, const Call& call);

  // Streams (streams.cc). These only queue the client's output.
  void subscribe(Client& client, const Call& call);
  void watch(Client& client, const Watch& watch, const Call& call);
  void begin_stream(Client& client, Stream stream);
  void end_stream(Client& client, std::string last_reply);
  void want_page(Client& client);
  void read_pages();
  Page read_page(uint64_t since, const EventFilter& filter) const;
  void deliver_pages() PMEMD_EXCLUDES(mutex_);
  void tell_progress(Client& client);
  void tell_all_progress();

  // What other threads left for the loop.
  void wake();
  void on_wakeup();
  void hand_out_events();
  void deliver_replies();

  bool is_owner(const Peer& peer) const;
  bool is_privileged(const Peer& peer) const;

  sd_event* const event_;
  const ControlOptions options_;
  const Handlers handlers_;
  const UniqueFd wakeup_;  // eventfd: changed_, or something under mutex_, wants the loop
  // Which clients are ready. They aren't sources each: sd_event asks for all ready ones before it
  // dispatches each single one, so that n hang-ups would cost n² checks.
  const UniqueFd clients_epoll_;

  // Used only by the loop's thread.
  ControlSocket socket_;
  Source accept_source_;
  Source retry_source_;  // a timer that ends a pause of accepting
  Source wakeup_source_;
  Source clients_source_;
  std::map<uint64_t, std::unique_ptr<Client>> clients_;
  std::map<uid_t, size_t> clients_of_user_;
  uint64_t next_id_ = 1;
  std::deque<uint64_t> page_queue_;  // clients that wait for a page
  unsigned pages_under_way_ = 0;
  uint64_t last_handed_out_ = 0;  // an event's seq; or the last that was lost
  size_t watchers_ = 0;

  std::atomic<uint64_t> connections_ = 0;
  std::atomic<uint64_t> subscribers_ = 0;
  std::atomic<uint64_t> calls_ = 0;
  std::atomic<uint64_t> events_ = 0;
  std::atomic<bool> changed_ = false;

  Mutex mutex_;
  std::vector<Published> inbox_ PMEMD_GUARDED_BY(mutex_);
  uint64_t lost_ PMEMD_GUARDED_BY(mutex_) = 0;       // events for which inbox_ had no room
  uint64_t last_lost_ PMEMD_GUARDED_BY(mutex_) = 0;  // seq of the last of these, ever
  std::vector<Page> pages_ PMEMD_GUARDED_BY(mutex_);
  std::vector<Completion> completions_ PMEMD_GUARDED_BY(mutex_);

  std::unique_ptr<ControlWorkers> workers_;  // last: its tasks use what is above
};

}  // namespace pmemd
