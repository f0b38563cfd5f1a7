// The control server's streams: events to subscribers, live and from the log; progress to waiting
// clients.
//
// A subscriber that asks for events from a number on gets them in pages. A worker reads each page
// when the previous one has been written to the socket, so at most a page is queued for the
// subscriber. It gets no live events meanwhile. When the last page reaches as far as the loop has
// handed out, the subscriber is live: events are in the log before they are published, so none
// falls in between; events that the page had already are skipped by number.
#include <fmt/format.h>

#include <utility>

#include "core/base/memory.h"
#include "daemon/control/event_json.h"
#include "daemon/control/server.h"

namespace pmemd {

namespace {

using State = ControlConnection::State;

constexpr size_t kPageEvents = 256;
constexpr unsigned kPagesAtOnce = 2;  // so that replays leave workers for calls

std::string encode_event(const Event& event) {
  return encode(Reply{{{"event", to_json(event)}}, /*continues=*/true, {}});
}

}  // namespace

// ---- Events

void ControlServer::publish(const Event& event) {
  ++events_;
  if (subscribers_ == 0) return;
  const auto queued = or_no_memory([&]() -> Result<void> {
    Published published{std::make_shared<const Event>(event),
                        std::make_shared<const std::string>(encode_event(event))};
    MutexLock lock(mutex_);
    if (inbox_.size() >= options_.limits.published_events) return fail(ENOBUFS);
    inbox_.push_back(std::move(published));
    return {};
  });
  if (!queued) {
    MutexLock lock(mutex_);
    ++lost_;
    last_lost_ = event.seq;
  }
  wake();
}

void ControlServer::subscribe(Client& client, const Call& call) {
  auto filter =
      EventFilter::parse(call.text("namespaces").value_or(""), call.text("kinds").value_or(""),
                         call.text("file").value_or(""), options_.mount_point);
  if (!filter) return client.connection.send(encode(failed(filter.error())));
  const auto follow = call.parameters.find("follow");
  Stream stream{.filter = std::make_shared<const EventFilter>(*std::move(filter)),
                .follow = follow == call.parameters.end() || !follow->is_boolean() || *follow};
  stream.replays = call.number("since").has_value() || !stream.follow;
  stream.since = call.number("since").value_or(0);
  if (stream.replays && !options_.replay) {
    return client.connection.send(
        encode(failed(fail(EOPNOTSUPP, "monitor: no events are kept").error())));
  }
  begin_stream(client, std::move(stream));
  client.connection.send(encode(Reply{Json::object(), /*continues=*/true, {}}));
}

void ControlServer::begin_stream(Client& client, Stream stream) {
  client.stream = std::move(stream);
  client.connection.set_state(State::kStreaming);
  ++subscribers_;
}

void ControlServer::end_stream(Client& client, std::string last_reply) {
  client.connection.send(std::move(last_reply));
  client.connection.set_state(State::kIdle);
  client.stream = {};
  --subscribers_;
}

void ControlServer::hand_out_events() {
  std::vector<Published> events;
  uint64_t lost = 0, last_lost = 0;
  {
    MutexLock lock(mutex_);
    events.swap(inbox_);
    lost = std::exchange(lost_, 0);
    last_lost = last_lost_;
  }
  if (events.empty() && lost == 0) return;
  last_handed_out_ = lost != 0 ? last_lost : events.back().event->seq;
  for (auto next = clients_.begin(); next != clients_.end();) {
    Client& client = *(next++)->second;  // serve() may remove it
    const Stream& stream = client.stream;
    if (client.connection.state() != State::kStreaming || stream.replays || stream.watch) continue;
    for (const Published& published : events) {
      if (published.event->seq <= stream.since && stream.since != 0) continue;
      if (stream.filter->matches(*published.event)) client.connection.send_event(published.text);
    }
    client.connection.add_missed(lost);
    serve_or_hang_up(client);
  }
}

// ---- Replay

void ControlServer::want_page(Client& client) {
  Stream& stream = client.stream;
  if (!stream.replays || stream.page_wanted || client.connection.has_output()) return;
  stream.page_wanted = true;
  page_queue_.push_back(client.id);
  read_pages();
}

void ControlServer::read_pages() {
  while (pages_under_way_ < kPagesAtOnce && !page_queue_.empty()) {
    const auto found = clients_.find(page_queue_.front());
    if (found != clients_.end()) {
      const Stream& stream = found->second->stream;
      auto run = [this, id = found->first, since = stream.since, filter = stream.filter] {
        Page page;
        const auto read = or_no_memory([&]() -> Result<void> {
          page = read_page(since, *filter);
          return {};
        });
        const MustAllocate done;
        if (!read) page.error = encode(failed(read.error()));
        page.client = id;
        {
          MutexLock lock(mutex_);
          pages_.push_back(std::move(page));
        }
        wake();
      };
      // The queue is full: retried as soon as an earlier call has its reply.
      // Counts as the daemon's own work, no matter whose page it is: there is little at once.
      if (!workers_->submit(ControlWorkers::Kind::kTells, 0, std::move(run))) return;
      ++pages_under_way_;
    }
    page_queue_.pop_front();
  }
}

ControlServer::Page ControlServer::read_page(uint64_t since, const EventFilter& filter) const {
  Page page;
  auto read = options_.replay(since, kPageEvents);
  if (!read) {
    page.error = encode(failed(read.error()));
    return page;
  }
  page.through = read->through;
  page.is_last = read->is_last;
  for (const LoggedEvent& logged : read->events) {
    if (logged.missed != 0) {
      page.text += encode(Reply{{{"missed", logged.missed}}, /*continues=*/true, {}});
    } else if (filter.matches(logged.event)) {
      page.text += encode_event(logged.event);
    }
  }
  return page;
}

void ControlServer::deliver_pages() {
  std::vector<Page> pages;
  {
    MutexLock lock(mutex_);
    pages.swap(pages_);
  }
  for (Page& page : pages) {
    --pages_under_way_;
    const auto found = clients_.find(page.client);
    if (found == clients_.end()) continue;  // hung up
    Client& client = *found->second;
    Stream& stream = client.stream;
    stream.page_wanted = false;
    if (!page.text.empty()) client.connection.send(std::move(page.text));
    if (!page.error.empty()) {
      end_stream(client, std::move(page.error));
    } else {
      stream.since = std::max(stream.since, page.through);
      if (page.is_last && page.through >= last_handed_out_) {
        stream.replays = false;
        if (!stream.follow) end_stream(client, encode(Reply{Json::object(), false, {}}));
      }
    }
    serve_or_hang_up(client);
  }
  read_pages();
}

// ---- Progress

void ControlServer::changed() {
  changed_.store(true);
  wake();
}

void ControlServer::watch(Client& client, const Watch& watch, const Call& call) {
  begin_stream(client, {.watch = &watch, .call = call});
  ++watchers_;
  tell_progress(client);
}

void ControlServer::tell_progress(Client& client) {
  // A slow reader gets only the state at the time it has caught up.
  if (client.connection.has_output()) return;
  auto progress = (*client.stream.watch)(client.stream.call);
  if (!progress) {
    --watchers_;
    return end_stream(client, encode(failed(progress.error().error, progress.error().details)));
  }
  if (progress->done) {
    --watchers_;
    return end_stream(client, encode(Reply{std::move(progress->parameters), false, {}}));
  }
  std::string text = encode(Reply{std::move(progress->parameters), /*continues=*/true, {}});
  if (text == client.stream.told) return;
  client.stream.told = text;
  client.connection.send(std::move(text));
}

void ControlServer::tell_all_progress() {
  if (!changed_.exchange(false) || watchers_ == 0) return;
  for (auto next = clients_.begin(); next != clients_.end();) {
    Client& client = *(next++)->second;  // serve() may remove it
    if (client.stream.watch == nullptr) continue;
    serve_or_hang_up(client);
  }
}

}  // namespace pmemd
