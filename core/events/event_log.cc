#include "core/events/event_log.h"

#include <pthread.h>

#include <algorithm>
#include <utility>

#include "core/base/fault.h"
#include "core/base/memory.h"
#include "core/pool/columns.h"

namespace pmemd {
namespace {

FaultPoint fault_write("events.write", "writing events to pool.db");

constexpr size_t kBatch = 512;  // rows in one transaction, which holds the database meanwhile
constexpr std::chrono::milliseconds kMemoryRetry{100};
constexpr std::string_view kGap = "gap";  // a row for `length` missing events

int64_t to_ns(std::chrono::system_clock::time_point time) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
}

LoggedEvent event_of(const Statement& row) {
  LoggedEvent logged;
  Event& event = logged.event;
  RowReader reader(row);
  event.seq = reader.number(0, columns::kEventSeq);
  const int64_t time = reader.integer(1, columns::kEventTime);
  const std::string_view kind = reader.bytes(2, columns::kEventKind);
  event.name_of_namespace = reader.bytes(3, columns::kEventNamespace);
  const auto length = reader.number(5, columns::kEventLength);
  event.range = DataRange::sized(reader.number(4, columns::kEventStart), length);
  if (!row.column_is_null(6)) {
    event.file = EventFile{std::string(reader.bytes(6, columns::kEventFile)),
                           FileRange::sized(reader.number(7, columns::kEventFileOffset),
                                            reader.number(8, columns::kEventFileLength))};
  }
  const auto known = parse_event_kind(kind);
  // A damaged event counts as missing, and so does one of a later version.
  if (!reader.done() || !known) {
    logged.missed = kind == kGap ? std::max<uint64_t>(length, 1) : 1;
    return logged;
  }
  event.time = std::chrono::system_clock::time_point(
      std::chrono::duration_cast<std::chrono::system_clock::duration>(
          std::chrono::nanoseconds(time)));
  event.kind = *known;
  return logged;
}

void bind(Statement& put, const LoggedEvent& logged) {
  const Event& event = logged.event;
  const bool is_gap = logged.missed != 0;
  put.bind(0, static_cast<int64_t>(event.seq)).bind(1, to_ns(event.time));
  put.bind_text(2, is_gap ? kGap : to_string(event.kind)).bind_text(3, event.name_of_namespace);
  put.bind(4, static_cast<int64_t>(event.range.begin));
  put.bind(5, static_cast<int64_t>(is_gap ? logged.missed : event.range.length()));
  if (!event.file) {
    put.bind_null(6).bind_null(7).bind_null(8);
    return;
  }
  put.bind_blob(6, event.file->path).bind(7, static_cast<int64_t>(event.file->range.begin));
  put.bind(8, static_cast<int64_t>(event.file->range.length()));
}

uint64_t count_of(const LoggedEvent& logged) { return logged.missed == 0 ? 1 : logged.missed; }

// How many missing events a row stands for, by its kind and length.
uint64_t missed_of(const Statement& row) {
  RowReader reader(row);
  const bool is_gap = reader.bytes(1, columns::kEventKind) == kGap;
  const auto length = reader.number(2, columns::kEventLength);
  return reader.done() && is_gap ? length : 1;
}

LoggedEvent gap(uint64_t last_seq, uint64_t missed) {
  LoggedEvent logged{.missed = missed};
  logged.event.seq = last_seq;
  return logged;
}

}  // namespace

Result<std::unique_ptr<EventLog>> EventLog::open(Database& db, const Options& options) {
  std::unique_ptr<EventLog> log(new EventLog(db, options));
  PMEMD_TRY(log->start());
  return log;
}

Result<void> EventLog::start() {
  uint64_t next = 0;
  {
    Transaction transaction(db_);
    PMEMD_TRY(transaction.begin());
    PMEMD_ASSIGN(Statement rows, db_.prepare("SELECT count(*), ifnull(max(seq), 0) FROM events"));
    PMEMD_ASSIGN(const bool has_rows, rows.step());
    if (!has_rows) return fail(EIO, "pool.db: events can't be counted");
    rows_ = static_cast<uint64_t>(rows.column_int(0));
    const int64_t last = rows.column_int(1);
    rows.reset();
    PMEMD_ASSIGN(Statement take,
                 db_.prepare("UPDATE meta SET next_event = max(next_event, ?1 + 1) + ?2"
                             " RETURNING next_event - ?2"));
    take.bind(0, last).bind(1, static_cast<int64_t>(options_.reserve));
    PMEMD_ASSIGN(const bool has_meta, take.step());
    next = has_meta ? static_cast<uint64_t>(take.column_int(0)) : 0;
    take.reset();
    if (next == 0 || next > uint64_t{columns::kRowMax} - options_.reserve) {
      return fail(EIO, "pool.db: meta: next_event is missing, or no number is left", kDamagedHint);
    }
    PMEMD_TRY(transaction.commit());
  }
  {
    MutexLock lock(mutex_);
    next_seq_ = next;
    last_seq_ = next - 1;
    reserved_ = next + options_.reserve;
  }
  writer_ = std::thread([this] { run(); });
  return {};
}

EventLog::~EventLog() {
  uint64_t next = 0;
  {
    MutexLock lock(mutex_);
    stop_ = true;
    next = next_seq_;
    work_cv_.notify_all();
  }
  if (!writer_.joinable()) return;  // it never started
  writer_.join();
  (void)write({}, next);  // gives back unused numbers
}

uint64_t EventLog::next_seq() const {
  MutexLock lock(mutex_);
  return next_seq_;
}

bool EventLog::is_gap_alone() const {
  return !can_write_ && queue_.size() == 1 && queue_.front().missed != 0;
}

bool EventLog::wants_numbers() const { return next_seq_ + options_.reserve / 2 >= reserved_; }

void EventLog::append(const Event& event) {
  const Deadline deadline = deadline_after(options_.wait_for_numbers);
  MutexLock lock(mutex_);
  next_seq_ = event.seq + 1;
  // If the database can't be written, numbers go on, and some may be reused after a restart.
  while (event.seq >= reserved_ && can_write_) {
    work_cv_.notify_all();
    if (!written_cv_.wait_until(mutex_, deadline)) break;
  }
  last_seq_ = event.seq;
  if (queue_.size() < options_.max_queued) {
    try {
      queue_.push_back({event});
    } catch (const std::bad_alloc&) {  // it is missing, and readers are told
      if (!queue_.empty()) queue_.back() = gap(event.seq, count_of(queue_.back()) + 1);
    }
  } else if (queue_.back().missed != 0) {
    queue_.back() = gap(event.seq, queue_.back().missed + 1);
  } else {
    queue_.push_back(gap(event.seq, 1));
  }
  work_cv_.notify_all();
}

void EventLog::run() {
  pthread_setname_np(pthread_self(), "event-log");
  while (true) {
    uint64_t reserve_to = 0;
    std::deque<LoggedEvent> batch;
    {
      const MustAllocate no_event_is_lost;
      MutexLock lock(mutex_);
      while (queue_.empty() && !stop_ && !(wants_numbers() && can_write_)) work_cv_.wait(mutex_);
      if (queue_.empty() && stop_) return;
      while (!queue_.empty() && writing_.size() < kBatch) {
        writing_.push_back(std::move(queue_.front()));
        queue_.pop_front();
      }
      batch = writing_;
      reserve_to = wants_numbers() ? std::max(next_seq_, reserved_) + options_.reserve : reserved_;
    }
    Result<void> written = or_no_memory([&] { return write(batch, reserve_to); });
    MutexLock lock(mutex_);
    // Memory comes back; a lost event doesn't.
    while (written.err() == ENOMEM && !stop_) {
      (void)work_cv_.wait_until(mutex_, deadline_after(kMemoryRetry));
      mutex_.unlock();
      written = or_no_memory([&] { return write(batch, reserve_to); });
      mutex_.lock();
    }
    const MustAllocate no_event_is_lost;
    can_write_ = written.has_value();
    if (written) reserved_ = reserve_to;
    // Events that can't be written are missing from now on, as one gap.
    if (!written && !batch.empty()) {
      uint64_t missed = 0;
      for (const LoggedEvent& logged : batch) missed += count_of(logged);
      const uint64_t last = batch.back().event.seq;
      if (!queue_.empty() && queue_.front().missed != 0) {
        queue_.front().missed += missed;
      } else if (!stop_) {
        queue_.push_front(gap(last, missed));
      }
    }
    writing_.clear();
    written_cv_.notify_all();
    // If only a gap is left to write, don't retry at once: wait for the next event.
    while (is_gap_alone() && !stop_) work_cv_.wait(mutex_);
  }
}

Result<void> EventLog::write(const std::deque<LoggedEvent>& batch, uint64_t reserve_to) {
  PMEMD_TRY(fault_write.hit());
  Transaction transaction(db_);
  PMEMD_TRY(transaction.begin());
  PMEMD_ASSIGN(Statement reserve, db_.prepare("UPDATE meta SET next_event = ?"));
  PMEMD_TRY(reserve.bind(0, static_cast<int64_t>(reserve_to)).run());
  const uint64_t rows_before = rows_;
  const auto put_all = [&]() -> Result<void> {
    PMEMD_ASSIGN(Statement put, db_.prepare("INSERT INTO events VALUES (?,?,?,?,?,?,?,?,?)"));
    for (const LoggedEvent& logged : batch) {
      bind(put, logged);
      PMEMD_TRY(put.run());
      ++rows_;
    }
    return rows_ > options_.keep + options_.trim ? trim() : Result<void>();
  };
  Result<void> done = put_all();
  if (done) done = transaction.commit();
  if (!done) rows_ = rows_before;
  return done;
}

// Replaces the oldest rows by one that says how many are gone.
Result<void> EventLog::trim() {
  const uint64_t go = rows_ - options_.keep;
  uint64_t missed = 0, last = 0;
  {
    PMEMD_ASSIGN(Statement oldest,
                 db_.prepare("SELECT seq, kind, length FROM events ORDER BY seq LIMIT ?"));
    oldest.bind(0, static_cast<int64_t>(go));
    while (true) {
      PMEMD_ASSIGN(const bool more, oldest.step());
      if (!more) break;
      last = static_cast<uint64_t>(oldest.column_int(0));
      missed = std::min(missed + missed_of(oldest), uint64_t{columns::kRowMax});
    }
  }
  PMEMD_ASSIGN(Statement drop, db_.prepare("DELETE FROM events WHERE seq <= ?"));
  PMEMD_TRY(drop.bind(0, static_cast<int64_t>(last)).run());
  PMEMD_ASSIGN(Statement put, db_.prepare("INSERT INTO events VALUES (?,?,?,?,?,?,?,?,?)"));
  bind(put, gap(last, missed));
  PMEMD_TRY(put.run());
  rows_ -= go - 1;
  return {};
}

Result<void> EventLog::read_rows(uint64_t since, uint64_t through, size_t max_events,
                                 std::vector<LoggedEvent>& events) {
  MutexLock lock(db_.mutex());
  PMEMD_ASSIGN(Statement rows,
               db_.prepare("SELECT seq, time, kind, namespace, start, length, file, file_offset,"
                           " file_length FROM events WHERE seq > ? AND seq <= ? ORDER BY seq"
                           " LIMIT ?"));
  rows.bind(0, static_cast<int64_t>(std::min<uint64_t>(since, INT64_MAX)));
  rows.bind(1, static_cast<int64_t>(through)).bind(2, static_cast<int64_t>(max_events));
  while (true) {
    PMEMD_ASSIGN(const bool more, rows.step());
    if (!more) return {};
    events.push_back(event_of(rows));
  }
}

Result<EventPage> EventLog::read(uint64_t since, size_t max_events) {
  std::vector<LoggedEvent> unwritten;
  EventPage page;
  // Memory first: an event that is written meanwhile is then found twice, not missed.
  {
    MutexLock lock(mutex_);
    page.through = last_seq_;
    for (const auto* const list : {&writing_, &queue_}) {
      for (const LoggedEvent& logged : *list) {
        if (logged.event.seq <= since) continue;
        if (unwritten.size() > max_events) break;
        unwritten.push_back(logged);
      }
    }
  }
  std::vector<LoggedEvent> rows;
  PMEMD_TRY(read_rows(since, page.through, max_events + 1, rows));
  const auto seq_of = [](const LoggedEvent& logged) { return logged.event.seq; };
  page.events.reserve(rows.size() + unwritten.size());
  std::ranges::set_union(rows, unwritten, std::back_inserter(page.events), {}, seq_of, seq_of);
  page.is_last = page.events.size() <= max_events;
  if (!page.is_last) {
    page.events.resize(max_events);
    page.through = page.events.empty() ? since : page.events.back().event.seq;
  }
  // Of a gap that began before `since`, count only the events after it.
  for (LoggedEvent& logged : page.events) {
    if (logged.missed != 0) logged.missed = std::min(logged.missed, logged.event.seq - since);
  }
  return page;
}

Result<void> EventLog::flush(Deadline deadline) {
  MutexLock lock(mutex_);
  while (!writing_.empty() || !(queue_.empty() || is_gap_alone())) {
    if (Clock::now() >= deadline) return fail(ETIMEDOUT, "events: not written yet");
    (void)written_cv_.wait_until(mutex_, deadline);
  }
  return {};
}

}  // namespace pmemd
