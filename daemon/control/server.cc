#include "daemon/control/server.h"

#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>
#include <new>
#include <span>
#include <utility>

#include "core/base/memory.h"
#include "core/control/interface.h"

namespace pmemd {

namespace {

using State = ControlConnection::State;

constexpr int kAcceptsAtOnce = 32;  // then other sources get their turn
constexpr int kCallsAtOnce = 32;    // likewise: calls of one client that the loop answers
constexpr int kClientsAtOnce = 64;  // likewise
constexpr uint64_t kAcceptRetryUs = 100'000;

bool has_handler(const Method& method) { return method.interface == kInterface && !method.streams; }

bool is_known(const std::string& name) {
  for (const Method& method : methods()) {
    if (has_handler(method) && method.name == name) return true;
  }
  return false;
}

}  // namespace

void ControlServer::SourceDeleter::operator()(sd_event_source* source) const {
  sd_event_source_disable_unref(source);
}

Result<std::unique_ptr<ControlServer>> ControlServer::start(sd_event* event, ControlOptions options,
                                                            Handlers handlers) {
  for ([[maybe_unused]] const auto& [name, handler] : handlers) assert(is_known(name));
  PMEMD_ASSIGN(auto socket, ControlSocket::listen(options.path, options.group, options.mode));
  PMEMD_ASSIGN(auto workers,
               ControlWorkers::start(options.limits.workers, options.limits.queued_calls));
  UniqueFd wakeup(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wakeup) return fail_errno("control socket: eventfd");
  UniqueFd clients_epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!clients_epoll) return fail_errno("control socket: epoll");
  std::unique_ptr<ControlServer> server(
      new ControlServer(event, std::move(options), std::move(handlers), std::move(socket),
                        std::move(workers), std::move(wakeup), std::move(clients_epoll)));
  PMEMD_TRY(server->add_sources());
  return server;
}

ControlServer::ControlServer(sd_event* event, ControlOptions options, Handlers handlers,
                             ControlSocket socket, std::unique_ptr<ControlWorkers> workers,
                             UniqueFd wakeup, UniqueFd clients_epoll)
    : event_(event),
      options_(std::move(options)),
      handlers_(std::move(handlers)),
      wakeup_(std::move(wakeup)),
      clients_epoll_(std::move(clients_epoll)),
      socket_(std::move(socket)),
      workers_(std::move(workers)) {}

ControlServer::~ControlServer() { (void)stop(Deadline::max()); }

Result<void> ControlServer::add_sources() {
  const auto keep = [](Source& source, sd_event_source* made, int r) -> Result<void> {
    if (r < 0) return fail(-r, fmt::format("control socket: event loop: {}", strerror(-r)));
    source.reset(made);
    return {};
  };
  sd_event_source* made = nullptr;
  int r = sd_event_add_io(
      event_, &made, socket_.fd(), EPOLLIN,
      [](sd_event_source*, int, uint32_t, void* server) noexcept {
        static_cast<ControlServer*>(server)->accept_some();
        return 0;
      },
      this);
  PMEMD_TRY(keep(accept_source_, made, r));
  r = sd_event_add_io(
      event_, &made, wakeup_.get(), EPOLLIN,
      [](sd_event_source*, int, uint32_t, void* server) noexcept {
        static_cast<ControlServer*>(server)->on_wakeup();
        return 0;
      },
      this);
  PMEMD_TRY(keep(wakeup_source_, made, r));
  r = sd_event_add_io(
      event_, &made, clients_epoll_.get(), EPOLLIN,
      [](sd_event_source*, int, uint32_t, void* server) noexcept {
        static_cast<ControlServer*>(server)->serve_some();
        return 0;
      },
      this);
  PMEMD_TRY(keep(clients_source_, made, r));
  // Made now: when it is needed, there is no descriptor left to make one.
  r = sd_event_add_time_relative(
      event_, &made, CLOCK_MONOTONIC, 0, 0,
      [](sd_event_source*, uint64_t, void* server) {
        auto* self = static_cast<ControlServer*>(server);
        sd_event_source_set_enabled(self->accept_source_.get(), SD_EVENT_ON);
        return 0;
      },
      this);
  PMEMD_TRY(keep(retry_source_, made, r));
  sd_event_source_set_enabled(retry_source_.get(), SD_EVENT_OFF);
  return {};
}

Result<void> ControlServer::stop(Deadline deadline) {
  socket_.remove();
  accept_source_.reset();
  retry_source_.reset();
  auto stopped = workers_->stop(deadline);
  wakeup_source_.reset();
  clients_source_.reset();
  on_wakeup();  // the last events, and then the last replies
  while (!clients_.empty()) remove_client(clients_.begin()->first);
  return stopped;
}

ControlServer::Stats ControlServer::stats() const {
  return {connections_, subscribers_, calls_, events_};
}

bool ControlServer::is_privileged(const Peer& peer) const {
  return UserBudget::is_privileged(peer.uid);
}

bool ControlServer::is_owner(const Peer& peer) const {
  return is_privileged(peer) || (socket_.group() && peer.is_member(*socket_.group()));
}

// ---- Accepting

void ControlServer::accept_some() {
  const MustAllocate json;  // its destructor allocates
  for (int i = 0; i < kAcceptsAtOnce; ++i) {
    UniqueFd fd(::accept4(socket_.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (fd) {
      try {
        add_client(std::move(fd));
      } catch (const std::bad_alloc&) {  // the connection is closed; the next ones wait
        pause_accepting();
        return;
      }
    } else if (errno == EAGAIN) {
      return;
    } else if (errno != EINTR && errno != ECONNABORTED) {
      pause_accepting();  // EMFILE, ENFILE, ENOMEM: the connection waits, and so must we
      return;
    }
  }
}

void ControlServer::pause_accepting() {
  if (sd_event_source_set_time_relative(retry_source_.get(), kAcceptRetryUs) < 0 ||
      sd_event_source_set_enabled(retry_source_.get(), SD_EVENT_ONESHOT) < 0) {
    return;  // it is then tried again at once
  }
  sd_event_source_set_enabled(accept_source_.get(), SD_EVENT_OFF);
}

Result<Peer> ControlServer::admit(int fd) {
  PMEMD_ASSIGN(Peer peer, options_.identify(fd));
  const auto found = clients_of_user_.find(peer.uid);
  const size_t of_user = found == clients_of_user_.end() ? 0 : found->second;
  const size_t all = options_.limits.connections;
  const size_t all_users = all - all / 8;  // the rest is root's
  if (clients_.size() >= all ||
      (!is_privileged(peer) &&
       (of_user >= options_.limits.connections_per_user || clients_.size() >= all_users))) {
    return fail(EBUSY, "too many connections at once", "close some, or try again");
  }
  return peer;
}

void ControlServer::add_client(UniqueFd fd) {
  auto peer = admit(fd.get());
  if (!peer) {
    const std::string reply = encode(failed(peer.error()));
    (void)::send(fd.get(), reply.data(), reply.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    return;
  }
  const uint64_t id = next_id_++;
  epoll_event awaited{.events = EPOLLIN, .data = {.u64 = id}};
  if (::epoll_ctl(clients_epoll_.get(), EPOLL_CTL_ADD, fd.get(), &awaited) != 0) {
    return;  // no memory: hang up
  }
  std::unique_ptr<Client> client(
      new Client{.id = id,
                 .connection = {std::move(fd), *std::move(peer), options_.limits.queued_events},
                 .awaited = EPOLLIN});
  size_t& of_user = clients_of_user_[client->connection.peer().uid];
  clients_.emplace(id, std::move(client));
  ++of_user;
  ++connections_;
}

void ControlServer::remove_client(uint64_t id) {
  const auto found = clients_.find(id);
  const ControlConnection& connection = found->second->connection;
  if (connection.state() == State::kStreaming) --subscribers_;
  if (found->second->stream.watch != nullptr) --watchers_;
  const auto user = clients_of_user_.find(connection.peer().uid);
  if (--user->second == 0) clients_of_user_.erase(user);
  --connections_;
  clients_.erase(found);
}

// ---- Serving

void ControlServer::serve_some() {
  const MustAllocate json;
  std::array<epoll_event, kClientsAtOnce> ready;
  const int count = ::epoll_wait(clients_epoll_.get(), ready.data(), kClientsAtOnce, 0);
  for (const epoll_event& one : std::span(ready).first(static_cast<size_t>(std::max(count, 0)))) {
    const uint64_t id = one.data.u64;  // a copy: the struct is packed, so no reference binds to it
    const auto found = clients_.find(id);
    if (found == clients_.end()) continue;
    try {
      on_ready(*found->second, one.events);
    } catch (const std::bad_alloc&) {
      remove_client(id);
    }
  }
}

void ControlServer::serve_or_hang_up(Client& client) {
  const uint64_t id = client.id;
  try {
    serve(client);
  } catch (const std::bad_alloc&) {
    remove_client(id);
  }
}

void ControlServer::on_ready(Client& client, uint32_t events) {
  ControlConnection& connection = client.connection;
  const bool may_read = connection.state() == State::kIdle && !connection.has_output();
  // A peer that hung up may have left calls; if one is in progress, nobody hears its reply.
  if ((events & (EPOLLHUP | EPOLLERR)) != 0 && !may_read) return remove_client(client.id);
  if (may_read && !connection.receive()) return remove_client(client.id);
  serve(client);
}

void ControlServer::serve(Client& client) {
  ControlConnection& connection = client.connection;
  if (!connection.flush()) return remove_client(client.id);
  int turns = kCallsAtOnce;
  for (; turns > 0 && connection.state() == State::kIdle && !connection.has_output(); --turns) {
    auto message = connection.next_message();
    if (!message) {
      connection.send(encode(failed(message.error())));
      connection.set_state(State::kClosing);
    } else if (*message) {
      handle(client, **message);
    } else {
      if (connection.input_ended()) connection.set_state(State::kClosing);
      break;
    }
    if (!connection.flush()) return remove_client(client.id);
  }
  if (connection.state() == State::kStreaming && !connection.has_output()) {
    want_page(client);
    if (client.stream.watch != nullptr) {
      tell_progress(client);
      if (!connection.flush()) return remove_client(client.id);
    }
  }
  update(client, /*again=*/turns == 0);
}

// Waits for the epoll events that the client's state can use; errors and hang-ups always come.
// `again`: what was read may hold more calls, and the socket takes output.
void ControlServer::update(Client& client, bool again) {
  const ControlConnection& connection = client.connection;
  uint32_t events = 0;
  if (connection.has_output() || (again && connection.state() == State::kIdle)) {
    events = EPOLLOUT;
  } else if (connection.state() == State::kClosing) {
    return remove_client(client.id);
  } else if (connection.state() == State::kIdle) {
    events = EPOLLIN;
  }
  if (events == client.awaited) return;
  client.awaited = events;
  epoll_event awaited{.events = events, .data = {.u64 = client.id}};
  if (::epoll_ctl(clients_epoll_.get(), EPOLL_CTL_MOD, connection.fd(), &awaited) != 0) {
    remove_client(client.id);
  }
}

void ControlServer::handle(Client& client, std::string_view message) {
  ControlConnection& connection = client.connection;
  auto call = parse_call(message);
  if (!call) return connection.send(encode(call.error()));
  const bool wants_reply = !call->oneway;
  const auto answered = or_no_memory([&]() -> Result<void> {
    PMEMD_TRY(check_memory());
    answer_call(client, *std::move(call));
    return {};
  });
  if (!answered && wants_reply) connection.send(no_memory_reply());
}

void ControlServer::answer_call(Client& client, Call call) {
  ControlConnection& connection = client.connection;
  const auto reply = [&](std::string text) {
    if (!call.oneway) connection.send(std::move(text));
  };
  const auto method = find_method(call);
  if (!method) return reply(encode(method.error()));
  // Before the parameters: a peer that may not call it learns nothing about it.
  if ((*method)->access == Access::kOwner && !is_owner(connection.peer())) {
    return reply(encode(permission_denied()));
  }
  if (const auto wrong = check_parameters(**method, call)) return reply(encode(*wrong));
  if ((*method)->interface == kServiceInterface) {
    const auto answer = answer_service_call(call);
    return reply(answer ? encode(Reply{*answer, false, {}}) : encode(answer.error()));
  }
  if ((*method)->streams) return stream(client, **method, call);
  dispatch(client, **method, std::move(call));
}

void ControlServer::stream(Client& client, const Method& method, const Call& call) {
  if (method.name == "Monitor") return subscribe(client, call);
  const auto found = options_.watches.find(std::string(method.name));
  if (found != options_.watches.end()) return watch(client, found->second, call);
  client.connection.send(encode(method_not_implemented(call)));
}

void ControlServer::dispatch(Client& client, const Method& method, Call call) {
  ControlConnection& connection = client.connection;
  const bool wants_reply = !call.oneway;
  const auto handler = handlers_.find(std::string(method.name));
  if (handler == handlers_.end()) {
    if (wants_reply) connection.send(encode(method_not_implemented(call)));
    return;
  }
  auto run = [this, id = client.id, peer = connection.peer(), &method, &handle = handler->second,
              call = std::move(call)] {
    Completion completion{id, run_handler(method, handle, call, peer)};
    if (call.oneway) completion.reply.clear();
    const MustAllocate done;
    {
      MutexLock lock(mutex_);
      completions_.push_back(std::move(completion));
    }
    wake();
  };
  const auto kind = method.access == Access::kOwner ? ControlWorkers::Kind::kChanges
                                                    : ControlWorkers::Kind::kTells;
  if (auto submitted = workers_->submit(kind, connection.peer().uid, std::move(run)); !submitted) {
    if (wants_reply) connection.send(encode(failed(submitted.error())));
    return;
  }
  ++calls_;
  connection.set_state(State::kBusy);
}

// ---- What other threads left for the loop

void ControlServer::wake() {
  const uint64_t one = 1;
  (void)!::write(wakeup_.get(), &one, sizeof(one));  // EAGAIN: it is awake anyway
}

void ControlServer::on_wakeup() {
  const MustAllocate json;
  uint64_t count = 0;
  (void)!::read(wakeup_.get(), &count, sizeof(count));
  hand_out_events();
  deliver_pages();
  tell_all_progress();
  deliver_replies();
}

void ControlServer::deliver_replies() {
  std::vector<Completion> completions;
  {
    MutexLock lock(mutex_);
    completions.swap(completions_);
  }
  for (Completion& completion : completions) {
    const auto found = clients_.find(completion.client);
    if (found == clients_.end()) continue;  // hung up
    Client& client = *found->second;
    client.connection.set_state(State::kIdle);
    if (!completion.reply.empty()) client.connection.send(std::move(completion.reply));
    serve_or_hang_up(client);
  }
}

}  // namespace pmemd
