// Calls a verb of the control socket with its first, second, third … allocation failing, until none
// does; and with all from it on. What it answers must be that it is done, or ENOMEM, and the
// machine must be then as after it, or as before.
//
// Without what a worker may take of the reserve (MayUseReserve): that only makes them fail later.
#pragma once

#include <gtest/gtest.h>

#include <cerrno>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>

#include "core/base/fault.h"
#include "core/base/memory.h"
#include "core/base/units.h"
#include "tests/unit/daemon/verbs/verbs_machine.h"
#include "tests/unit/failing_allocation.h"

namespace pmemd::test {

inline constexpr uint64_t kMostAllocations = 20'000;

using Which = FailingAllocation::Which;

struct Try {
  std::string verb;
  Json parameters = Json::object();
  std::function<void()> undo = [] {};
  // Of several objects, each is as before or as after; to call it again does the rest.
  bool is_of_several = false;
  // Until what other threads do for it is done.
  std::function<void()> wait = [] {};
};

class WithoutMemory : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (!FailingAllocation::is_possible()) GTEST_SKIP() << "operator new is a sanitizer's";
  }
  ~WithoutMemory() override {
    machine_.reset();
    FaultPoint::disarm_all();  // those are the process'
    EXPECT_EQ(reserve_used_bytes(), 0u) << "of the reserve something is lost";
  }

  VerbsMachine& machine() { return *machine_; }

  Json done(const std::string& verb, const Json& parameters = Json::object()) {
    const auto answer = machine().call(verb, parameters);
    EXPECT_EQ(answer.err, 0) << verb << ": " << answer.message;
    return answer.parameters;
  }
  std::function<void()> then(const std::string& verb, const Json& parameters = Json::object()) {
    return [this, verb, parameters] { done(verb, parameters); };
  }

  void try_all(const Try& what) {
    SCOPED_TRACE(what.verb + " " + what.parameters.dump());
    before_ = look(true);
    done(what.verb, what.parameters);
    what.wait();
    after_ = look(true);
    what.undo();
    ASSERT_NO_FATAL_FAILURE(expect_same(look(true), before_)) << "the test's undo";
    for (const Which which : {Which::kOne, Which::kAllFrom}) {
      SCOPED_TRACE(which == Which::kOne ? "one fails" : "all from it on fail");
      ASSERT_NO_FATAL_FAILURE(try_each<FailingAllocation>(what, which));
    }
  }
  // Those of the threads that work for the verb.
  void try_elsewhere(const Try& what) {
    SCOPED_TRACE(what.verb + " " + what.parameters.dump() + " in other threads");
    for (const Which which : {Which::kOne, Which::kAllFrom}) {
      SCOPED_TRACE(which == Which::kOne ? "one fails" : "all from it on fail");
      ASSERT_NO_FATAL_FAILURE(try_each<FailingElsewhere>(what, which));
    }
  }

  // An error that is known and one that isn't, in the file.
  void make_errors() {
    done("InjectError", {{"file", "/pmem0/file"}, {"offset", 0}, {"length", 512}});
    done("InjectError",
         {{"file", "/pmem0/file"}, {"offset", kPageSize}, {"length", 512}, {"latent", true}});
  }
  void make_good() {
    done("UninjectError", {{"namespace", "namespace0.0"}});
    done("ClearErrors", {{"namespace", "namespace0.0"}});
  }

 private:
  template <class Failing>
  void try_each(const Try& what, Which which) {
    for (uint64_t n = 1; n < kMostAllocations; ++n) {
      SCOPED_TRACE(testing::Message() << "allocation " << n);
      bool was_hit = false;
      const auto answer =
          machine().call(what.verb, what.parameters, [&](const std::function<void()>& act) {
            const Failing fails(n, which);
            act();
            if constexpr (std::is_same_v<Failing, FailingElsewhere>) what.wait();
            was_hit = fails.hit();
          });
      what.wait();
      ASSERT_TRUE(answer.err == 0 || answer.err == ENOMEM) << answer.message;
      ASSERT_NO_FATAL_FAILURE(judge(what, answer.err == 0, n % 64 == 0 || !was_hit));
      if (was_hit) continue;
      ASSERT_EQ(answer.err, 0) << "nothing failed: " << answer.message;
      ASSERT_EQ(machine().findings(), "[]");
      return;
    }
    FAIL() << "it has no end";
  }

  // By the outline, which costs little; now and then by all that there is to see.
  void judge(const Try& what, bool is_done, bool is_thorough) {
    const Seen now = look(is_thorough);
    if (is_done) {
      ASSERT_NO_FATAL_FAILURE(expect_same(now, after_));
    } else if (!what.is_of_several || now.outline == before_.outline) {
      return expect_same(now, before_);
    } else {
      done(what.verb, what.parameters);
      ASSERT_NO_FATAL_FAILURE(expect_same(look(is_thorough), after_));
    }
    what.undo();
    if (is_thorough) expect_same(look(true), before_);
  }

  struct Seen {
    std::string outline;
    std::string state;  // empty: not looked at
  };
  Seen look(bool is_thorough) {
    return {machine().outline(), is_thorough ? machine().state() : ""};
  }
  static void expect_same(const Seen& now, const Seen& wanted) {
    ASSERT_EQ(now.outline, wanted.outline);
    if (!now.state.empty()) {
      ASSERT_EQ(now.state, wanted.state);
    }
  }

  std::unique_ptr<VerbsMachine> machine_ = std::make_unique<VerbsMachine>();
  Seen before_, after_;
};

}  // namespace pmemd::test
