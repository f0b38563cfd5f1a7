#include "tests/unit/percpu/interleavings.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <map>
#include <memory>
#include <unordered_set>

namespace pmemd::model {
namespace {

enum class Kind : uint8_t {
  kLoad,
  kStore,
  kAdd,
  kOr,
  kExchange,
  kAwait,
  kFence,  // writes out one other thread's issued stores
  kEnd,
};

struct Op {
  Kind kind = Kind::kEnd;
  bool is_release = false;
  uint32_t word = 0;  // kFence: the other thread
  uint64_t value = 0;
  uint64_t desired = 0;  // kExchange, where `value` is what is expected
};

constexpr std::array<const char*, 8> kNames = {"load",     "store", "add",   "or",
                                               "exchange", "await", "fence", "end"};

// A thread's past, as a node of a tree: what it observed leads from node to node.
struct Node {
  std::vector<std::function<void(Ghost&)>> observations;  // due with the operation before
  bool issues = false;                                    // a light_fence() was among them
  Op op;                                                  // what it does next
  std::map<uint64_t, uint32_t> next;                      // by what op answers
};

// The run of one thread up to its first new operation.
struct Replay {
  size_t thread = 0;
  const std::vector<uint64_t>* answers = nullptr;
  size_t position = 0;
  Node node;
};
struct Reached {};  // thrown out of the thread's code at that operation

struct World {
  std::vector<uint64_t> initial;
  Without without = Without::kNothing;
  size_t threads = 0;
  Replay* replay = nullptr;
};
World world;

uint64_t answer(const Op& op) {
  Replay& replay = *world.replay;
  if (replay.position == replay.answers->size()) {
    replay.node.op = op;
    throw Reached();
  }
  replay.node.observations.clear();
  replay.node.issues = false;
  return (*replay.answers)[replay.position++];
}

struct Store {
  uint8_t word;
  bool is_release;
  bool is_issued;
  uint64_t value;
};

struct State {
  std::array<uint64_t, kMaxWords> memory{};
  std::array<uint32_t, kMaxThreads> nodes{};
  std::array<std::vector<Store>, kMaxThreads> buffers;
  Ghost ghost;

  std::string key() const {
    std::string key;
    const auto add = [&key](const auto& value) {
      key.append(reinterpret_cast<const char*>(&value), sizeof(value));
    };
    for (size_t i = 0; i < world.initial.size(); ++i) add(memory[i]);
    for (size_t t = 0; t < world.threads; ++t) {
      add(nodes[t]);
      for (const Store& store : buffers[t]) {
        key += static_cast<char>(store.word + 1);
        key += static_cast<char>(store.is_release + 2 * store.is_issued);
        add(store.value);
      }
      key += '\0';
    }
    for (const int64_t value : ghost.values) key += static_cast<char>(value);
    key += static_cast<char>(ghost.is_freed);
    return key;
  }
};

class Search {
 public:
  explicit Search(const Program& program) : program_(program) {}

  Outcome run() {
    State state;
    for (size_t i = 0; i < world.initial.size(); ++i) state.memory[i] = world.initial[i];
    for (const auto& [thread, code] : program_.setup) run_alone(state, thread, code);
    for (size_t t = 0; t < program_.threads.size(); ++t) {
      paths_[t].push_back({});
      nodes_[t].push_back(replay(t, program_.threads[t], {}));
      enter(state, t, 0);
    }
    visit(state);
    return std::move(outcome_);
  }

 private:
  // Where `code` stands after it was given these answers.
  static Node replay(size_t thread, const std::function<void()>& code,
                     const std::vector<uint64_t>& answers) {
    Replay replay{thread, &answers, 0, {}};
    world.replay = &replay;
    try {
      code();
      replay.node.op = Op{};
    } catch (const Reached&) {
    }
    world.replay = nullptr;
    return std::move(replay.node);
  }

  void run_alone(State& state, size_t thread, const std::function<void()>& code) {
    std::vector<uint64_t> answers;
    for (;;) {
      const Node node = replay(thread, code, answers);
      for (const auto& observe : node.observations) observe(state.ghost);
      if (node.op.kind == Kind::kEnd) return;
      while (!state.buffers[thread].empty()) write_out(state, thread, 0);
      answers.push_back(perform(state, thread, node.op));
      while (!state.buffers[thread].empty()) write_out(state, thread, 0);
    }
  }

  // True while there is nothing to report.
  bool visit(const State& state) {
    if (state.ghost.violation != nullptr) return report(state.ghost.violation);
    if (!seen_.insert(state.key()).second) return true;
    ++outcome_.states;
    bool is_stuck = true;
    bool is_end = true;
    for (size_t t = 0; t < program_.threads.size(); ++t) {
      const auto& buffer = state.buffers[t];
      for (size_t i = 0; i < buffer.size(); ++i) {
        is_stuck = is_end = false;
        if (!may_write_out(buffer, i)) continue;
        State after = state;
        write_out(after, t, i);
        if (!go(after, t, fmt::format("word {} becomes {:#x}", buffer[i].word, buffer[i].value))) {
          return false;
        }
      }
      const Op& op = nodes_[t][state.nodes[t]].op;
      if (op.kind == Kind::kEnd) continue;
      is_end = false;
      if (!is_enabled(state, t, op)) continue;
      is_stuck = false;
      if (!step(state, t)) return false;
    }
    if (is_end) return end(state);
    return !is_stuck || report("stuck: nobody can go on");
  }

  bool step(const State& state, size_t t) {
    const Op op = nodes_[t][state.nodes[t]].op;
    if (state.ghost.is_freed && op.kind != Kind::kFence &&
        std::ranges::count(program_.object, op.word) != 0) {
      return report("touches the object when it may have been freed");
    }
    State after = state;
    const uint64_t seen = perform(after, t, op);
    const uint32_t from = state.nodes[t];
    auto found = nodes_[t][from].next.find(seen);
    if (found == nodes_[t][from].next.end()) {
      std::vector<uint64_t> path = paths_[t][from];
      path.push_back(seen);
      nodes_[t].push_back(replay(t, program_.threads[t], path));
      paths_[t].push_back(std::move(path));
      const auto node = static_cast<uint32_t>(nodes_[t].size() - 1);
      found = nodes_[t][from].next.emplace(seen, node).first;
    }
    enter(after, t, found->second);
    return go(after, t,
              fmt::format("{} {} {:#x} {:#x}: {:#x}", kNames[static_cast<size_t>(op.kind)], op.word,
                          op.value, op.desired, seen));
  }

  void enter(State& state, size_t t, uint32_t node) {
    state.nodes[t] = node;
    for (const auto& observe : nodes_[t][node].observations) observe(state.ghost);
    if (!nodes_[t][node].issues) return;
    for (Store& store : state.buffers[t]) store.is_issued = true;
  }

  bool go(const State& state, size_t t, std::string what) {
    trace_.push_back(fmt::format("{}: {}", t, what));
    const bool goes_on = visit(state);
    trace_.pop_back();
    return goes_on;
  }

  bool end(const State& state) {
    ++outcome_.ends;
    Ghost ghost = state.ghost;
    program_.at_end(ghost, [&](uint32_t word) { return state.memory[word]; });
    return ghost.violation == nullptr || report(ghost.violation);
  }

  bool report(const char* what) {
    outcome_.violation = what;
    outcome_.trace = trace_;
    return false;
  }

  static bool may_write_out(const std::vector<Store>& buffer, size_t i) {
    if (buffer[i].is_release) return i == 0;
    for (size_t j = 0; j < i; ++j) {
      if (buffer[j].word == buffer[i].word) return false;
    }
    return true;
  }

  static void write_out(State& state, size_t t, size_t i) {
    state.memory[state.buffers[t][i].word] = state.buffers[t][i].value;
    state.buffers[t].erase(state.buffers[t].begin() + static_cast<ptrdiff_t>(i));
  }

  static uint64_t read(const State& state, size_t t, uint32_t word) {
    const auto& buffer = state.buffers[t];
    for (size_t i = buffer.size(); i > 0; --i) {
      if (buffer[i - 1].word == word) return buffer[i - 1].value;
    }
    return state.memory[word];
  }

  static bool is_enabled(const State& state, size_t t, const Op& op) {
    switch (op.kind) {
      case Kind::kLoad:
      case Kind::kStore:
        return true;
      case Kind::kAwait:
        return (read(state, t, op.word) & op.value) == 0;
      default:
        return state.buffers[t].empty();
    }
  }

  static uint64_t perform(State& state, size_t t, const Op& op) {
    const uint64_t before = op.kind == Kind::kFence ? 0 : read(state, t, op.word);
    switch (op.kind) {
      case Kind::kStore:
        state.buffers[t].push_back({static_cast<uint8_t>(op.word), op.is_release, false, op.value});
        return 0;
      case Kind::kAdd:
        state.memory[op.word] = before + op.value;
        return before;
      case Kind::kOr:
        state.memory[op.word] = before | op.value;
        return before;
      case Kind::kExchange:
        if (before == op.value) state.memory[op.word] = op.desired;
        return before;
      case Kind::kFence: {
        auto& buffer = state.buffers[op.word];
        while (!buffer.empty() && buffer.front().is_issued) write_out(state, op.word, 0);
        return 0;
      }
      default:
        return before;
    }
  }

  const Program& program_;
  std::array<std::vector<Node>, kMaxThreads> nodes_;
  std::array<std::vector<std::vector<uint64_t>>, kMaxThreads> paths_;  // answers that lead there
  std::unordered_set<std::string> seen_;
  std::vector<std::string> trace_;
  Outcome outcome_;
};

}  // namespace

Word::Word(uint64_t initial) : index_(static_cast<uint32_t>(world.initial.size())) {
  assert(index_ < kMaxWords && world.replay == nullptr);
  world.initial.push_back(initial);
}

uint64_t Word::load(std::memory_order) const { return answer({Kind::kLoad, false, index_, 0, 0}); }

void Word::store(uint64_t value, std::memory_order order) {
  answer({Kind::kStore, order != std::memory_order_relaxed, index_, value, 0});
}

uint64_t Word::fetch_add(uint64_t value, std::memory_order) {
  return answer({Kind::kAdd, true, index_, value, 0});
}
uint64_t Word::fetch_sub(uint64_t value, std::memory_order) {
  return answer({Kind::kAdd, true, index_, -value, 0});
}
uint64_t Word::fetch_or(uint64_t value, std::memory_order) {
  return answer({Kind::kOr, true, index_, value, 0});
}

bool Word::compare_exchange_weak(uint64_t& expected, uint64_t desired, std::memory_order,
                                 std::memory_order) {
  const uint64_t before = answer({Kind::kExchange, true, index_, expected, desired});
  if (before == expected) return true;
  expected = before;
  return false;
}

uint64_t Word::await_clear(uint64_t bits) const {
  return answer({Kind::kAwait, false, index_, bits, 0});
}

void light_fence() {
  if (world.without != Without::kLightFence) world.replay->node.issues = true;
}

void heavy_fence() {
  if (world.without == Without::kHeavyFence) return;
  for (size_t t = 0; t < world.threads; ++t) {
    if (t != this_thread()) answer({Kind::kFence, false, static_cast<uint32_t>(t), 0, 0});
  }
}

void observe(std::function<void(Ghost&)> change) {
  world.replay->node.observations.push_back(std::move(change));
}

size_t this_thread() { return world.replay->thread; }

void forget_words() { world.initial.clear(); }

Outcome explore(const Program& program, Without without) {
  assert(program.threads.size() <= kMaxThreads);
  world.without = without;
  world.threads = program.threads.size();
  return Search(program).run();
}

}  // namespace pmemd::model
