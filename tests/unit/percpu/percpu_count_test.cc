// Every interleaving of a few threads on the protocol of PercpuRef, on a memory that delays stores.
#include "core/percpu/percpu_count.h"

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <ostream>
#include <utility>
#include <vector>

#include "tests/unit/percpu/interleavings.h"

namespace pmemd {
namespace {

using model::Ghost;
using model::kMaxThreads;
using model::observe;
using model::Without;

struct ModelMachine {
  using Word = model::Word;
  struct Cell {
    Word gets;
    Word puts;
  };
  using Column = uint32_t;
  static constexpr Column kNoColumn = 0;

  static inline std::array<std::unique_ptr<Cell>, kMaxThreads> cells;  // null: no row
  static inline std::unique_ptr<Word> rows;  // a bit a row that was taken; null: all are

  static Cell* my_cell(Column) { return cells[model::this_thread()].get(); }
  template <class Visit>
  static void for_each_cell(Column, Visit visit) {
    const uint64_t taken = rows ? rows->load(std::memory_order_acquire) : ~uint64_t{0};
    for (size_t t = 0; t < kMaxThreads; ++t) {
      if (cells[t] && (taken >> t & 1) != 0) visit(*cells[t]);
    }
  }
  static void light_fence() { model::light_fence(); }
  static void heavy_fence() { model::heavy_fence(); }
  static inline bool waits = true;
  static uint64_t await_clear(const Word& word, uint64_t bits) {
    return waits ? word.await_clear(bits) : word.load(std::memory_order_acquire);
  }
  static void insist(bool holds, const char* what) {
    if (!holds) observe([what](Ghost& ghost) { ghost.check(false, what); });
  }
};

using Count = PercpuCount<ModelMachine>;

// Ghost::values
enum : size_t {
  kHeld,                         // references that threads know to hold
  kKilled,                       // kill() has returned, and nothing brought it back to life
  kReleased,                     // lives that came to zero
  kLives,                        // lives that were killed, less those that were taken back
  kBegan,                        // + thread: kKilled when its tryget_live began
  kUsed = kBegan + kMaxThreads,  // + thread: it has used a reference
};

enum Rows { kAll, kNoneForTheLast, kNoColumn, kTakenLate };

// A count, and threads that use it as PercpuRef does.
class Model {
 public:
  explicit Model(Rows rows) {
    model::forget_words();
    ModelMachine::rows.reset();
    for (size_t t = 0; t < kMaxThreads; ++t) {
      ModelMachine::cells[t].reset();
      const bool has_none = rows == kNoColumn || (rows == kNoneForTheLast && t == kMaxThreads - 1);
      if (!has_none) ModelMachine::cells[t] = std::make_unique<ModelMachine::Cell>();
    }
    if (rows == kTakenLate) ModelMachine::rows = std::make_unique<model::Word>(0);
    count_ = std::make_unique<Count>(rows == kNoColumn ? 0 : 1);
    // In the order in which the constructor made them.
    model::Word after;
    program.object = {after.index() - 2, after.index() - 1};
    for (auto& used : used_) used = std::make_unique<model::Word>();
    drained_ = std::make_unique<model::Word>(kNotDrained);
    program.setup.emplace_back(0, [this] { count_->begin(); });
    program.at_end = [this](Ghost& ghost, const auto& read) { check_end(ghost, read); };
  }

  // What threads do. Each use of a reference is a plain store that whoever comes to zero must see.

  bool get(uint64_t n = 1) {
    const size_t t = model::this_thread();
    observe([t](Ghost& ghost) { ghost.values[kBegan + t] = ghost.values[kKilled]; });
    if (!count_->tryget_live_many(n)) return false;
    observe([t, n](Ghost& ghost) {
      ghost.check(ghost.values[kBegan + t] == 0, "tryget_live() after kill() had returned");
      ghost.values[kHeld] += static_cast<int64_t>(n);
    });
    return true;
  }
  bool get_any() {
    if (!count_->tryget_many(1)) return false;
    observe([](Ghost& ghost) { ++ghost.values[kHeld]; });
    return true;
  }
  void get_beside(uint64_t n) {
    count_->get_many(n);
    observe([n](Ghost& ghost) { ghost.values[kHeld] += static_cast<int64_t>(n); });
  }
  void use() {
    const size_t t = model::this_thread();
    used_[t]->store(1, std::memory_order_relaxed);
    observe([t](Ghost& ghost) { ghost.values[kUsed + t] = 1; });
  }
  void put(uint64_t n = 1) {
    observe([n](Ghost& ghost) { ghost.values[kHeld] -= static_cast<int64_t>(n); });
    if (count_->put_many(n)) finish();
  }
  void get_use_put() {
    if (!get()) return;
    use();
    put();
  }

  void kill() {
    const bool is_zero = count_->kill();
    observe([](Ghost& ghost) {
      ghost.values[kKilled] = 1;
      ++ghost.values[kLives];
    });
    if (is_zero) finish();
  }
  void resurrect() {
    observe([](Ghost& ghost) { ghost.values[kKilled] = 0; });
    if (count_->resurrect()) {
      observe([](Ghost& ghost) { --ghost.values[kLives]; });
      return;
    }
    begin();
  }
  void reinit() {
    observe([](Ghost& ghost) { ghost.values[kKilled] = 0; });
    begin();
  }
  void take_row() {
    ModelMachine::rows->fetch_or(uint64_t{1} << model::this_thread(), std::memory_order_acq_rel);
  }

  // Thread t holds n references when the search begins.
  void holds(size_t t, uint64_t n) {
    program.setup.emplace_back(t, [this, n] { (void)get(n); });
  }
  void runs(std::function<void()> code) { program.threads.push_back(std::move(code)); }

  Count& count() { return *count_; }
  model::Program program;
  bool frees_at_zero = false;

 private:
  static constexpr uint64_t kNotDrained = 1;

  void begin() {
    drained_->await_clear(kNotDrained);
    drained_->fetch_or(kNotDrained, std::memory_order_acq_rel);
    count_->begin();
  }

  // As PercpuRef::finish(), and as who waited for it.
  void finish() {
    observe([](Ghost& ghost) {
      ghost.check(ghost.values[kHeld] == 0, "at zero with a reference held");
      ++ghost.values[kReleased];
    });
    for (size_t t = 0; t < program.threads.size(); ++t) {
      const uint64_t used = used_[t]->load(std::memory_order_relaxed);
      observe([t, used](Ghost& ghost) {
        ghost.check(used == 1 || ghost.values[kUsed + t] == 0, "at zero, and a use isn't seen");
      });
    }
    if (frees_at_zero) {
      observe([](Ghost& ghost) { ghost.is_freed = true; });
    } else {
      drained_->fetch_sub(kNotDrained, std::memory_order_acq_rel);
    }
  }

  void check_end(Ghost& ghost, const std::function<uint64_t(uint32_t)>& read) const {
    const uint64_t word = read(program.object[0]);
    const auto held = static_cast<uint64_t>(ghost.values[kHeld]);
    if ((word & Count::kDying) != 0) {
      ghost.check(word / Count::kOne == held, "dead, and the count isn't what is held");
      ghost.check(ghost.values[kReleased] == ghost.values[kLives] - (held == 0 ? 0 : 1),
                  "not released once a life");
      return;
    }
    uint64_t in_cells = 0;
    for (const auto& cell : ModelMachine::cells) {
      if (cell) in_cells += read(cell->gets.index()) / 2 - read(cell->puts.index()) / 2;
    }
    in_cells -= read(program.object[1]);
    ghost.check(word + in_cells * Count::kOne == Count::kBias + (1 + held) * Count::kOne,
                "live, and the count isn't what is held");
    ghost.check(ghost.values[kReleased] == ghost.values[kLives], "not released once a life");
  }

  std::unique_ptr<Count> count_;
  std::array<std::unique_ptr<model::Word>, kMaxThreads> used_;
  std::unique_ptr<model::Word> drained_;
};

struct Scenario {
  const char* name;
  Rows rows;
  void (*build)(Model&);

  friend void PrintTo(const Scenario& scenario, std::ostream* out) { *out << scenario.name; }
};

// The killer is the last thread, where there is no reason for another order.
constexpr Scenario kScenarios[] = {
    {"GetAndPut_Kill", kAll,
     [](Model& m) {
       m.runs([&m] { m.get_use_put(); });
       m.runs([&m] { m.kill(); });
     }},
    {"GetAndPutTwice_Kill", kAll,
     [](Model& m) {
       m.runs([&m] {
         m.get_use_put();
         m.get_use_put();
       });
       m.runs([&m] { m.kill(); });
     }},
    {"GetAndPut_GetAndPut_Kill", kAll,
     [](Model& m) {
       m.runs([&m] { m.get_use_put(); });
       m.runs([&m] { m.get_use_put(); });
       m.runs([&m] { m.kill(); });
     }},
    {"GetAndKeep_Put_Kill", kAll,
     [](Model& m) {
       m.holds(1, 1);
       m.runs([&m] { m.get(); });
       m.runs([&m] {
         m.use();
         m.put();
       });
       m.runs([&m] { m.kill(); });
     }},
    // Taken by thread 0, put by thread 1.
    {"HeldByOne_PutByAnother_Kill", kAll,
     [](Model& m) {
       m.holds(0, 2);
       m.runs([&m] {
         m.use();
         m.put();
       });
       m.runs([&m] {
         m.use();
         m.put();
       });
       m.runs([&m] { m.kill(); });
       m.frees_at_zero = true;
     }},
    {"Many_Kill", kAll,
     [](Model& m) {
       m.holds(0, 3);
       m.runs([&m] {
         m.get_beside(2);
         m.put(4);
         m.put(1);
       });
       m.runs([&m] {
         if (m.get(2)) m.put(2);
       });
       m.runs([&m] { m.kill(); });
     }},
    {"TrygetBesideAnother_Kill", kAll,
     [](Model& m) {
       m.holds(0, 1);
       m.runs([&m] {
         m.use();
         m.put();
       });
       m.runs([&m] {
         if (m.get_any()) m.put();
       });
       m.runs([&m] { m.kill(); });
     }},
    // What is taken in a cell in the first life may be put in the word.
    {"KillAndReinitAndKill_GetAndPut", kAll,
     [](Model& m) {
       m.runs([&m] { m.get_use_put(); });
       m.runs([&m] {
         m.kill();
         m.reinit();
         m.kill();
       });
     }},
    {"KillAndResurrectAndKill_GetAndPut", kAll,
     [](Model& m) {
       m.runs([&m] { m.get_use_put(); });
       m.runs([&m] {
         m.kill();
         m.resurrect();
         m.kill();
       });
     }},
    {"KillAndResurrectAndKill_Put_Put", kAll,
     [](Model& m) {
       m.holds(0, 1);
       m.holds(1, 1);
       m.runs([&m] { m.put(); });
       m.runs([&m] { m.put(); });
       m.runs([&m] {
         m.kill();
         m.resurrect();
         m.kill();
       });
     }},
    {"KillAndResurrect_GetAndPut_Put", kAll,
     [](Model& m) {
       m.holds(1, 1);
       m.runs([&m] { m.get_use_put(); });
       m.runs([&m] { m.put(); });
       m.runs([&m] {
         m.kill();
         m.resurrect();
       });
     }},
    // The killer counts, too: his own cell, and what waits in his own buffer.
    {"KillerGetsAndPuts_GetAndPut", kAll,
     [](Model& m) {
       m.runs([&m] { m.get_use_put(); });
       m.runs([&m] {
         m.get();
         m.kill();
         m.put();
       });
     }},
    // The last thread has no row; the killer is the first.
    {"Kill_GetAndPut_GetAndPutWithoutARow", kNoneForTheLast,
     [](Model& m) {
       m.runs([&m] { m.kill(); });
       m.runs([&m] { m.get_use_put(); });
       m.runs([&m] { m.get_use_put(); });
     }},
    {"Kill_PutWhatTheOtherTookWithoutARow", kNoneForTheLast,
     [](Model& m) {
       m.holds(1, 1);
       m.holds(2, 2);
       m.runs([&m] { m.kill(); });
       m.runs([&m] {
         m.use();
         m.put(2);
       });
       m.runs([&m] {
         m.use();
         m.put();
       });
       m.frees_at_zero = true;
     }},
    {"NoColumn_GetAndPut_GetAndPut_KillAndResurrectAndKill", kNoColumn,
     [](Model& m) {
       m.runs([&m] { m.get_use_put(); });
       m.runs([&m] { m.get_use_put(); });
       m.runs([&m] {
         m.kill();
         m.resurrect();
         m.kill();
       });
     }},
    {"RowTakenLate_GetAndPut_Kill", kTakenLate,
     [](Model& m) {
       m.runs([&m] {
         m.take_row();
         m.get_use_put();
       });
       m.runs([&m] {
         m.take_row();
         m.get_use_put();
       });
       m.runs([&m] { m.kill(); });
     }},
};

std::string describe(const model::Outcome& outcome) {
  std::string text = outcome.violation;
  for (const auto& step : outcome.trace) text += "\n  " + step;
  return text;
}

model::Outcome explore(const Scenario& scenario, Without without = Without::kNothing,
                       bool waits = true) {
  ModelMachine::waits = waits;
  Model m(scenario.rows);
  scenario.build(m);
  return model::explore(m.program, without);
}

class PercpuCountModel : public testing::TestWithParam<Scenario> {};

TEST_P(PercpuCountModel, HoldsInEveryInterleaving) {
  const auto outcome = explore(GetParam());
  EXPECT_EQ(outcome.violation, "") << describe(outcome);
  EXPECT_GT(outcome.ends, 1u);
  RecordProperty("states", static_cast<int>(outcome.states));
}

// Each is what makes counting in cells right, so each scenario that has cells must miss it; one
// that counts in the word alone wants none of them.
TEST_P(PercpuCountModel, MissesTheLightFence) {
  const auto outcome = explore(GetParam(), Without::kLightFence);
  EXPECT_EQ(outcome.violation.empty(), GetParam().rows == kNoColumn);
}
TEST_P(PercpuCountModel, MissesTheHeavyFence) {
  const auto outcome = explore(GetParam(), Without::kHeavyFence);
  EXPECT_EQ(outcome.violation.empty(), GetParam().rows == kNoColumn);
}
TEST_P(PercpuCountModel, MissesTheWaitForThreadsInside) {
  const auto outcome = explore(GetParam(), Without::kNothing, /*waits=*/false);
  EXPECT_EQ(outcome.violation.empty(), GetParam().rows == kNoColumn);
}

INSTANTIATE_TEST_SUITE_P(Scenarios, PercpuCountModel, testing::ValuesIn(kScenarios),
                         [](const auto& scenario) { return std::string(scenario.param.name); });

}  // namespace
}  // namespace pmemd
