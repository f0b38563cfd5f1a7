// What mappers are told of their ranges, and what they answer (client/pmemd_ioctl.h).
//
// A mapper has registered mappings or takeovers through a handle (core/references/claim_table.h).
// What happens to a range becomes one event for each mapping that it touches, clipped to it, in the
// coordinates of the file and of the mapping. Events wait in a queue of the handle until somebody
// reads them. Some are questions: whoever asks waits until each is answered or can't be any more.
//
// Invariants:
//  1. A mapping that is registered while tell() runs gets one event; one that isn't registered any
//     more gets none, and those that it had are never read.
//  2. At most kMaxEvents wait for a handle; of more, the oldest go, and are counted. Nobody who
//     doesn't read costs more, or holds up others.
//  3. A question has one outcome. It ends with its answer, its timeout, its claim, its handle, or
//     interrupt(); an answer that comes later is refused.
//  4. What is announced (away) is taken back or made good (kEnabled) to the same mappings.
//  5. Of each poll() the next event either shows in its result or calls its wakeup, once.
//
// Thread contract: any thread. collect(), ask_takeover() and wait_answers() block: from no thread
// that serves requests, since the answers are requests. Wakeups run without a lock, and must not
// block. Models: mm/memory-failure.c collect_procs_fsdax(), kill_procs(), fs/notify/notification.c
// fsnotify_insert_event() @v6.12; differs: events that are read instead of signals, to those who
// asked for them; an overflow loses the oldest, and says how many.
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

// What happened, as all are told.
struct MapperNotice {
  MapperEventKind kind = MapperEventKind::kPoison;
  uint64_t seq = 0;  // of the failure, as the EventBus numbers it
  std::chrono::system_clock::time_point time = {};
  // Not 0: an answer is wanted, and waited for so long.
  std::chrono::milliseconds answer_within{0};
};

// What one of them is told.
struct MapperEvent {
  MapperNotice notice;
  uint64_t id = 0;       // of the mapping or takeover
  FileRange range = {};  // the part of it that is meant
  uint64_t address = 0;  // where the mapping has it; 0: a takeover
  uint64_t missed = 0;   // so many of the handle were dropped before it
};

class MapperEvents {
 public:
  static constexpr size_t kMaxEvents = 64;

  using Wakeup = std::function<void()>;
  enum class Answer { kDone, kRefused };

  // `claims` outlives it.
  explicit MapperEvents(ClaimTable& claims) : claims_(claims) {}
  MapperEvents(const MapperEvents&) = delete;
  MapperEvents& operator=(const MapperEvents&) = delete;

  // --- what happens

  // Each registered mapping of `ino` that overlaps the range gets one event. How many did.
  // With `answer_within` a wait_answers() must follow.
  uint64_t tell(uint64_t ino, FileRange range, const MapperNotice& notice) PMEMD_EXCLUDES(mutex_);
  // The same for all of every mapping, of any file. kEnabled: only for those that were told
  // kPreRemove or kRemoved so, and not kEnabled since.
  uint64_t tell_all(const MapperNotice& notice) PMEMD_EXCLUDES(mutex_);

  class Asked;  // questions, until collect()
  // Asks the takeovers of `ino` that overlap the range, each for its part; their time runs from now
  // on. Doesn't wait, so that many ranges can be asked at once. After interrupt() nobody is asked.
  [[nodiscard]] Asked ask(uint64_t ino, FileRange range, uint64_t seq,
                          std::chrono::system_clock::time_point time) PMEMD_EXCLUDES(mutex_);
  // Must follow: waits for each until its own timeout. The parts that were handled: sorted,
  // disjoint. What was refused, came too late, or lost its owner meanwhile isn't among them.
  std::vector<FileRange> collect(const Asked& asked) PMEMD_EXCLUDES(mutex_);
  // Both, for one range.
  std::vector<FileRange> ask_takeover(uint64_t ino, FileRange range, uint64_t seq,
                                      std::chrono::system_clock::time_point time)
      PMEMD_EXCLUDES(mutex_);

  // Behind tell…() with this `seq` that wanted answers: waits until each handle of the device has
  // answered all that it was asked, or is closed; one that was asked nothing must close. A claim
  // that ends counts as answered. False: some are left at the deadline, or interrupt().
  bool wait_answers(uint64_t seq, Deadline deadline) PMEMD_EXCLUDES(mutex_);

  // Ends all waits, for good.
  void interrupt() PMEMD_EXCLUDES(mutex_);

  // --- what a mapper does, through its handle

  // The oldest event, which is then gone.
  std::optional<MapperEvent> read(uint64_t handle) PMEMD_EXCLUDES(mutex_);
  // It could not be handed over: it is the oldest again. One of a claim or handle that has gone
  // meanwhile is gone too.
  void put_back(uint64_t handle, const MapperEvent& event) PMEMD_EXCLUDES(mutex_);
  // Is there an event? `wakeup` is called once, when one more has come (also if there are some: who
  // polls edge-triggered asks no second time before that). It replaces one that waits already; an
  // empty one only asks.
  bool poll(uint64_t handle, Wakeup wakeup) PMEMD_EXCLUDES(mutex_);
  // ENOENT: no such question waits for an answer of this handle (it may have come too late).
  // EINVAL: kRefused of anything but a takeover.
  Result<void> answer(uint64_t handle, uint64_t seq, uint64_t id, Answer answer)
      PMEMD_EXCLUDES(mutex_);

  // --- a claim, a handle is gone: after it left the ClaimTable. Unknown ones are ignored.
  void forget(uint64_t handle, uint64_t id) PMEMD_EXCLUDES(mutex_);
  void forget_handle(uint64_t handle) PMEMD_EXCLUDES(mutex_);

  struct Counts {
    uint64_t events = 0;     // that wait to be read
    uint64_t queues = 0;     // handles that have, or wait for, events
    uint64_t questions = 0;  // not answered yet, or not collected by who asked
  };
  Counts counts() const PMEMD_EXCLUDES(mutex_);

 private:
  struct Queue {
    std::deque<MapperEvent> events;
    uint64_t missed = 0;  // dropped since the last one that was read
    Wakeup wakeup;
  };
  // handle, id of the claim, a number of its own
  using QuestionKey = std::tuple<uint64_t, uint64_t, uint64_t>;
  struct Question {
    uint64_t seq = 0;
    MapperEventKind kind = MapperEventKind::kTakeover;
    FileRange range = {};
    Deadline deadline = {};
    std::optional<Answer> answer = {};
  };
  using Questions = std::map<QuestionKey, Question>;
  // Who holds up one wait_answers().
  struct Grace {
    std::map<uint64_t, uint64_t> left;  // by handle: questions that are open; 1: it must close
    uint64_t holding = 0;               // handles of which some are
  };
  using Wakeups = std::vector<Wakeup>;

  void deliver(const Reference& to, FileRange range, const MapperNotice& notice, Wakeups& wakeups)
      PMEMD_REQUIRES(mutex_);
  void tell_one(const Reference& mapping, FileRange range, const MapperNotice& notice,
                Wakeups& wakeups) PMEMD_REQUIRES(mutex_);
  QuestionKey ask_one(const Reference& whom, FileRange range, const MapperNotice& notice,
                      Wakeups& wakeups) PMEMD_REQUIRES(mutex_);
  // Those of a wait_answers() are done with; a takeover's stays for who asked.
  void settle(Questions::iterator question) PMEMD_REQUIRES(mutex_);
  // Those of `first` to `last` that are open have lost their owner.
  void drop_questions(const QuestionKey& first, const QuestionKey& last) PMEMD_REQUIRES(mutex_);
  // Waits for the answer to a takeover, and takes the question out.
  std::optional<Answer> wait_for_answer(const QuestionKey& key) PMEMD_REQUIRES(mutex_);

  ClaimTable& claims_;

  mutable Mutex mutex_;
  CondVar answered_cv_;
  bool interrupted_ PMEMD_GUARDED_BY(mutex_) = false;
  uint64_t next_question_ PMEMD_GUARDED_BY(mutex_) = 1;
  std::map<uint64_t, Queue> queues_ PMEMD_GUARDED_BY(mutex_);  // by handle
  Questions questions_ PMEMD_GUARDED_BY(mutex_);
  std::map<uint64_t, Grace> graces_ PMEMD_GUARDED_BY(mutex_);  // by seq
  // Claims (handle, id) that were told that all of them goes.
  std::set<std::pair<uint64_t, uint64_t>> away_ PMEMD_GUARDED_BY(mutex_);
};

class MapperEvents::Asked {
 private:
  friend class MapperEvents;
  std::vector<std::pair<QuestionKey, FileRange>> questions_;
};

}  // namespace pmemd
