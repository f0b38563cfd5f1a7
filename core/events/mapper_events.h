// Tells mappers what happens to their ranges, and takes their answers (client/pmemd_ioctl.h).
//
// A mapper has registered mappings or takeovers through a handle (core/references/claim_table.h).
// What happens to a range becomes one event for each mapping that it touches, clipped to it, in the
// coordinates of the file and of the mapping. Events wait in the handle's queue until somebody
// reads them. Some are questions: the asker waits until each is answered or can't be answered any
// more.
//
// Invariants:
//  1. A mapping that is registered while tell() runs gets one event; one that isn't registered any
//     more gets none, and its earlier events are never read.
//  2. At most kMaxEvents wait for a handle; beyond that the oldest are dropped and counted. A
//     mapper that doesn't read costs no more than that, and holds up nobody.
//  3. A question has one outcome. It ends with its answer, its timeout, its claim, its handle, or
//     interrupt(); a later answer is refused.
//  4. A loss that was announced (away) is taken back or made good (kEnabled) to the same mappings.
//  5. After each poll(), the next event either shows in its result or calls its wakeup, once.
//
// Thread contract: any thread. collect(), ask_takeover() and wait_answers() block: never call them
// from a thread that serves requests, because the answers are requests. Wakeups run without a lock,
// and must not block.
// Models: mm/memory-failure.c collect_procs_fsdax(), kill_procs(), fs/notify/notification.c
// fsnotify_insert_event() @v6.12; differs: events that are read instead of signals, to those who
// asked for them; an overflow drops the oldest, and says how many.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/base/mutex.h"
#include "core/range/range.h"
#include "core/references/claim_table.h"

namespace pmemd {

// As enum pmemd_event_kind.
enum class MapperEventKind : uint32_t {
  kPoison = 1,
  kPreRemove = 2,
  kRemoved = 3,
  kEnabled = 4,
  kCleared = 5,
  kTakeover = 6,
};

// What happened, the same for all mappers.
struct MapperNotice {
  MapperEventKind kind = MapperEventKind::kPoison;
  uint64_t seq = 0;  // of the failure, as the EventBus numbers it
  std::chrono::system_clock::time_point time = {};
  // Not 0: an answer is wanted, and we wait this long for it.
  std::chrono::milliseconds answer_within{0};
};

// What one mapper is told.
struct MapperEvent {
  MapperNotice notice;
  uint64_t id = 0;       // of the mapping or takeover
  FileRange range = {};  // the affected part of it
  uint64_t address = 0;  // where the mapping has that part; 0: a takeover
  uint64_t missed = 0;   // how many of the handle's events were dropped before this one
};

class MapperEvents {
 public:
  static constexpr size_t kMaxEvents = 64;

  using Wakeup = std::function<void()>;
  enum class Answer { kDone, kRefused };

  // `claims` must outlive it.
  explicit MapperEvents(ClaimTable& claims) : claims_(claims) {}
  MapperEvents(const MapperEvents&) = delete;
  MapperEvents& operator=(const MapperEvents&) = delete;

  // --- what happens

  // Gives each registered mapping of `ino` that overlaps the range one event; returns how many. If
  // `answer_within` is set, a wait_answers() must follow.
  uint64_t tell(uint64_t ino, FileRange range, const MapperNotice& notice) PMEMD_EXCLUDES(mutex_);
  // The same for the whole of every mapping, of any file. kEnabled: only for mappings that were
  // told kPreRemove or kRemoved by this function, and not kEnabled since.
  uint64_t tell_all(const MapperNotice& notice) PMEMD_EXCLUDES(mutex_);

  class Asked;  // questions, until collect()
  // Asks the takeovers of `ino` that overlap the range, each about its part; their timeouts start
  // now. Doesn't wait, so that many ranges can be asked at once. After interrupt() it asks nobody.
  [[nodiscard]] Asked ask(uint64_t ino, FileRange range, uint64_t seq,
                          std::chrono::system_clock::time_point time) PMEMD_EXCLUDES(mutex_);
  // Must follow: waits for each answer until its own timeout. Returns the parts that were handled:
  // sorted, disjoint; not those that were refused, answered too late, or lost their owner
  // meanwhile.
  std::vector<FileRange> collect(const Asked& asked) PMEMD_EXCLUDES(mutex_);
  // Both, for one range.
  std::vector<FileRange> ask_takeover(uint64_t ino, FileRange range, uint64_t seq,
                                      std::chrono::system_clock::time_point time)
      PMEMD_EXCLUDES(mutex_);

  // Call it after the tell…() with this `seq` that wanted answers: waits until each handle of the
  // device has answered all its questions, or is closed; a handle that was asked nothing must
  // close. A claim that ends counts as answered. False: the deadline passed with some left, or
  // interrupt().
  bool wait_answers(uint64_t seq, Deadline deadline) PMEMD_EXCLUDES(mutex_);

  // Ends all waits, for good.
  void interrupt() PMEMD_EXCLUDES(mutex_);

  // --- what a mapper does, through its handle

  // Takes the oldest event.
  std::optional<MapperEvent> read(uint64_t handle) PMEMD_EXCLUDES(mutex_);
  // The event could not be delivered: makes it the oldest again. It is dropped if its claim or
  // handle has gone meanwhile.
  void put_back(uint64_t handle, const MapperEvent& event) PMEMD_EXCLUDES(mutex_);
  // Whether there is an event. `wakeup` is called once, when the next one comes (even if some are
  // waiting: an edge-triggered poller doesn't ask again before that). It replaces an earlier
  // wakeup; an empty one only asks.
  bool poll(uint64_t handle, Wakeup wakeup) PMEMD_EXCLUDES(mutex_);
  // ENOENT: no such question waits for this handle's answer (the answer may be too late). EINVAL:
  // kRefused for anything but a takeover.
  Result<void> answer(uint64_t handle, uint64_t seq, uint64_t id, Answer answer)
      PMEMD_EXCLUDES(mutex_);

  // --- a claim or a handle is gone: call these after it left the ClaimTable. Unknown ones are
  // ignored.
  void forget(uint64_t handle, uint64_t id) PMEMD_EXCLUDES(mutex_);
  void forget_handle(uint64_t handle) PMEMD_EXCLUDES(mutex_);

  struct Counts {
    uint64_t events = 0;     // that wait to be read
    uint64_t queues = 0;     // handles that have, or wait for, events
    uint64_t questions = 0;  // not answered yet, or not collected by the asker
  };
  Counts counts() const PMEMD_EXCLUDES(mutex_);

 private:
  struct Queue {
    std::deque<MapperEvent> events;
    uint64_t missed = 0;  // dropped since the last event that was read
    Wakeup wakeup;
  };
  // handle, id of the claim, own number
  using QuestionKey = std::tuple<uint64_t, uint64_t, uint64_t>;
  struct Question {
    uint64_t seq = 0;
    MapperEventKind kind = MapperEventKind::kTakeover;
    FileRange range = {};
    Deadline deadline = {};
    std::optional<Answer> answer = {};
  };
  using Questions = std::map<QuestionKey, Question>;
  // The handles that hold up one wait_answers().
  struct Grace {
    std::map<uint64_t, uint64_t> left;  // by handle: open questions; 1: it must close
    uint64_t holding = 0;               // handles with any left
  };
  using Wakeups = std::vector<Wakeup>;

  void deliver(const Reference& to, FileRange range, const MapperNotice& notice, Wakeups& wakeups)
      PMEMD_REQUIRES(mutex_);
  void tell_one(const Reference& mapping, FileRange range, const MapperNotice& notice,
                Wakeups& wakeups) PMEMD_REQUIRES(mutex_);
  QuestionKey ask_one(const Reference& whom, FileRange range, const MapperNotice& notice,
                      Wakeups& wakeups) PMEMD_REQUIRES(mutex_);
  // Drops a question of wait_answers(); a takeover's stays for its asker.
  void settle(Questions::iterator question) PMEMD_REQUIRES(mutex_);
  // The open questions from `first` to `last` have lost their owner.
  void drop_questions(const QuestionKey& first, const QuestionKey& last) PMEMD_REQUIRES(mutex_);
  // Waits for the answer of a takeover, and takes the question out.
  std::optional<Answer> wait_for_answer(const QuestionKey& key) PMEMD_REQUIRES(mutex_);

  ClaimTable& claims_;

  mutable Mutex mutex_;
  CondVar answered_cv_;
  bool interrupted_ PMEMD_GUARDED_BY(mutex_) = false;
  uint64_t next_question_ PMEMD_GUARDED_BY(mutex_) = 1;
  std::map<uint64_t, Queue> queues_ PMEMD_GUARDED_BY(mutex_);  // by handle
  Questions questions_ PMEMD_GUARDED_BY(mutex_);
  std::map<uint64_t, Grace> graces_ PMEMD_GUARDED_BY(mutex_);  // by seq
  // Claims (handle, id) that were told that all of their range goes away.
  std::set<std::pair<uint64_t, uint64_t>> away_ PMEMD_GUARDED_BY(mutex_);
};

class MapperEvents::Asked {
 private:
  friend class MapperEvents;
  std::vector<std::pair<QuestionKey, FileRange>> questions_;
};

}  // namespace pmemd
