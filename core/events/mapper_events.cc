#include "core/events/mapper_events.h"

#include <algorithm>
#include <utility>

#include "core/base/memory.h"
#include "core/range/range_set.h"

namespace pmemd {
namespace {

constexpr uint64_t kLast = UINT64_MAX;

bool takes_away(MapperEventKind kind) {
  return kind == MapperEventKind::kPreRemove || kind == MapperEventKind::kRemoved;
}

void wake(const std::vector<MapperEvents::Wakeup>& wakeups) {
  for (const auto& wakeup : wakeups) wakeup();
}

}  // namespace

// --- what happens

void MapperEvents::deliver(const Reference& to, FileRange range, const MapperNotice& notice,
                           Wakeups& wakeups) {
  Queue& queue = queues_[to.handle];
  if (queue.events.size() == kMaxEvents) {
    queue.events.pop_front();
    ++queue.missed;
  }
  const bool is_mapping = to.kind == ReferenceKind::kMapping;
  queue.events.push_back({.notice = notice,
                          .id = to.id,
                          .range = range,
                          .address = is_mapping ? to.address + (range.begin - to.range.begin) : 0});
  if (queue.wakeup) wakeups.push_back(std::exchange(queue.wakeup, nullptr));
}

MapperEvents::QuestionKey MapperEvents::ask_one(const Reference& whom, FileRange range,
                                                const MapperNotice& notice, Wakeups& wakeups) {
  const QuestionKey key = {whom.handle, whom.id, next_question_++};
  questions_.emplace(key, Question{.seq = notice.seq,
                                   .kind = notice.kind,
                                   .range = range,
                                   .deadline = deadline_after(notice.answer_within)});
  deliver(whom, range, notice, wakeups);
  return key;
}

void MapperEvents::tell_one(const Reference& mapping, FileRange range, const MapperNotice& notice,
                            Wakeups& wakeups) {
  if (notice.answer_within.count() == 0) return deliver(mapping, range, notice, wakeups);
  ask_one(mapping, range, notice, wakeups);
  Grace& grace = graces_[notice.seq];
  if (grace.left[mapping.handle]++ == 0) ++grace.holding;
}

uint64_t MapperEvents::tell(uint64_t ino, FileRange range, const MapperNotice& notice) {
  const MustAllocate it_has_happened;
  Wakeups wakeups;
  uint64_t told = 0;
  {
    MutexLock lock(mutex_);
    const auto mappings = claims_.find(ReferenceKind::kMapping, ReferenceFilter{ino, range});
    for (const Reference& mapping : mappings) {
      tell_one(mapping, mapping.range.intersect(range), notice, wakeups);
    }
    told = mappings.size();
  }
  wake(wakeups);
  return told;
}

uint64_t MapperEvents::tell_all(const MapperNotice& notice) {
  const MustAllocate it_has_happened;
  Wakeups wakeups;
  uint64_t told = 0;
  {
    MutexLock lock(mutex_);
    for (const Reference& mapping : claims_.find(ReferenceKind::kMapping, std::nullopt)) {
      const std::pair key(mapping.handle, mapping.id);
      if (notice.kind == MapperEventKind::kEnabled) {
        if (away_.erase(key) == 0) continue;
      } else if (takes_away(notice.kind)) {
        away_.insert(key);
      }
      tell_one(mapping, mapping.range, notice, wakeups);
      ++told;
    }
  }
  wake(wakeups);
  return told;
}

MapperEvents::Asked MapperEvents::ask(uint64_t ino, FileRange range, uint64_t seq,
                                      std::chrono::system_clock::time_point time) {
  const MustAllocate it_has_happened;
  Wakeups wakeups;
  Asked asked;
  {
    MutexLock lock(mutex_);
    if (interrupted_) return asked;
    const auto takeovers = claims_.find(ReferenceKind::kTakeover, ReferenceFilter{ino, range});
    asked.questions_.reserve(takeovers.size());
    for (const Reference& takeover : takeovers) {
      const FileRange part = takeover.range.intersect(range);
      const MapperNotice notice = {.kind = MapperEventKind::kTakeover,
                                   .seq = seq,
                                   .time = time,
                                   .answer_within = takeover.timeout};
      asked.questions_.emplace_back(ask_one(takeover, part, notice, wakeups), part);
    }
  }
  wake(wakeups);
  return asked;
}

std::vector<FileRange> MapperEvents::collect(const Asked& asked) {
  RangeSet<FileSpace> handled;
  MutexLock lock(mutex_);
  for (const auto& [key, part] : asked.questions_) {
    if (wait_for_answer(key) == Answer::kDone) handled.insert(part);
  }
  return handled.ranges();
}

std::vector<FileRange> MapperEvents::ask_takeover(uint64_t ino, FileRange range, uint64_t seq,
                                                  std::chrono::system_clock::time_point time) {
  return collect(ask(ino, range, seq, time));
}

std::optional<MapperEvents::Answer> MapperEvents::wait_for_answer(const QuestionKey& key) {
  while (true) {
    const auto it = questions_.find(key);
    if (it == questions_.end()) return std::nullopt;  // its owner has gone
    const Question question = it->second;
    if (question.answer || interrupted_ || Clock::now() >= question.deadline) {
      questions_.erase(it);
      return question.answer;
    }
    (void)answered_cv_.wait_until(mutex_, question.deadline);
  }
}

bool MapperEvents::wait_answers(uint64_t seq, Deadline deadline) {
  const MustAllocate it_has_happened;
  MutexLock lock(mutex_);
  Grace& grace = graces_[seq];
  for (const uint64_t handle : claims_.handles()) {
    if (grace.left.try_emplace(handle, 1).second) ++grace.holding;
  }
  while (grace.holding != 0 && !interrupted_) {
    if (!answered_cv_.wait_until(mutex_, deadline)) break;
  }
  const bool all = grace.holding == 0;
  graces_.erase(seq);
  std::erase_if(questions_, [seq](const auto& entry) {
    return entry.second.seq == seq && entry.second.kind != MapperEventKind::kTakeover;
  });
  return all;
}

void MapperEvents::interrupt() {
  MutexLock lock(mutex_);
  interrupted_ = true;
  answered_cv_.notify_all();
}

// --- what a mapper does

std::optional<MapperEvent> MapperEvents::read(uint64_t handle) {
  MutexLock lock(mutex_);
  const auto it = queues_.find(handle);
  if (it == queues_.end() || it->second.events.empty()) return std::nullopt;
  Queue& queue = it->second;
  MapperEvent event = queue.events.front();
  queue.events.pop_front();
  event.missed = std::exchange(queue.missed, 0);
  return event;
}

void MapperEvents::put_back(uint64_t handle, const MapperEvent& event) {
  const MustAllocate it_has_happened;
  Wakeups wakeups;
  {
    MutexLock lock(mutex_);
    if (!claims_.has_claim(handle, event.id)) return;
    Queue& queue = queues_[handle];
    queue.missed += event.missed;
    if (queue.events.size() == kMaxEvents) {
      ++queue.missed;
      return;
    }
    queue.events.push_front(event);
    if (queue.wakeup) wakeups.push_back(std::exchange(queue.wakeup, nullptr));
  }
  wake(wakeups);
}

bool MapperEvents::poll(uint64_t handle, Wakeup wakeup) {
  MutexLock lock(mutex_);
  // A handle that is already gone would never be forgotten.
  if (wakeup && claims_.has_handle(handle)) queues_[handle].wakeup.swap(wakeup);
  const auto it = queues_.find(handle);
  return it != queues_.end() && !it->second.events.empty();
}

Result<void> MapperEvents::answer(uint64_t handle, uint64_t seq, uint64_t id, Answer answer) {
  MutexLock lock(mutex_);
  const auto last = questions_.upper_bound({handle, id, kLast});
  for (auto it = questions_.lower_bound({handle, id, 0}); it != last; ++it) {
    Question& question = it->second;
    if (question.seq != seq || question.answer || Clock::now() >= question.deadline) continue;
    if (answer == Answer::kRefused && question.kind != MapperEventKind::kTakeover) {
      return fail(EINVAL);
    }
    question.answer = answer;
    settle(it);
    return {};
  }
  return fail(ENOENT);
}

void MapperEvents::settle(Questions::iterator question) {
  answered_cv_.notify_all();
  if (question->second.kind == MapperEventKind::kTakeover) return;
  const uint64_t handle = std::get<0>(question->first);
  const auto grace = graces_.find(question->second.seq);
  questions_.erase(question);
  if (grace == graces_.end()) return;
  const auto left = grace->second.left.find(handle);
  if (left != grace->second.left.end() && --left->second == 0) --grace->second.holding;
}

// --- who is gone

void MapperEvents::drop_questions(const QuestionKey& first, const QuestionKey& last) {
  for (auto it = questions_.lower_bound(first); it != questions_.end() && it->first <= last;) {
    const auto question = it++;
    if (question->second.answer) continue;  // given in time
    if (question->second.kind != MapperEventKind::kTakeover) {
      settle(question);
      continue;
    }
    questions_.erase(question);
    answered_cv_.notify_all();
  }
}

void MapperEvents::forget(uint64_t handle, uint64_t id) {
  MutexLock lock(mutex_);
  away_.erase({handle, id});
  drop_questions({handle, id, 0}, {handle, id, kLast});
  const auto it = queues_.find(handle);
  if (it == queues_.end()) return;
  std::erase_if(it->second.events, [id](const MapperEvent& event) { return event.id == id; });
}

void MapperEvents::forget_handle(uint64_t handle) {
  Queue gone;  // its wakeup goes without the lock
  MutexLock lock(mutex_);
  away_.erase(away_.lower_bound({handle, 0}), away_.upper_bound({handle, kLast}));
  drop_questions({handle, 0, 0}, {handle, kLast, kLast});
  for (auto& [seq, grace] : graces_) {
    const auto left = grace.left.find(handle);
    if (left == grace.left.end()) continue;
    if (left->second != 0) --grace.holding;
    grace.left.erase(left);
    answered_cv_.notify_all();
  }
  const auto it = queues_.find(handle);
  if (it == queues_.end()) return;
  gone = std::move(it->second);
  queues_.erase(it);
}

MapperEvents::Counts MapperEvents::counts() const {
  MutexLock lock(mutex_);
  Counts counts{.queues = queues_.size(), .questions = questions_.size()};
  for (const auto& [handle, queue] : queues_) counts.events += queue.events.size();
  return counts;
}

}  // namespace pmemd
