// What the tests of removals share: a pool with namespace0.0 (fsdax, pmem0) and namespace0.1
// (devdax, dax0.1), and words for what they do to it.
#pragma once

#include <chrono>
#include <set>
#include <stdexcept>
#include <string>

#include "tests/integration/support/harness.h"

namespace pmemd {

// What pmemctl monitor prints, an object a line.
class MonitorProgram {
 public:
  explicit MonitorProgram(const TestPool& pool) : program_(pool.ctl_args({"--json", "monitor"})) {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (pool.ctl_json({"status"}).at("subscribers") == 0) {
      if (std::chrono::steady_clock::now() > deadline) throw std::runtime_error("not subscribed");
    }
  }
  Json next() { return Json::parse(program_.receive()); }
  // The next event without a file: one for a whole namespace.
  Json next_of_namespace() {
    Json event = next();
    while (event.contains("file")) event = next();
    return event;
  }
  Json next_of_kind(const std::string& kind) {
    Json event = next();
    while (event.at("kind") != kind) event = next();
    return event;
  }
  Process& process() { return program_.process(); }

 private:
  Conversation program_;
};

class RemovalTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    pool_.start(daemon_options());
    pool_.make_two_namespaces();
  }

  virtual DaemonOptions daemon_options() const { return {}; }

  void make_file(const std::string& name, size_t bytes) {
    write_file(pool_.path(name), pattern(bytes, bytes));
  }

  Json force_off(const std::string& option = "--force") {
    return pool_.ctl_json({"disable-namespace", "namespace0.0", "--force", option});
  }
  void turn_on() { pool_.ctl_json({"enable-namespace", "namespace0.0"}); }

  // Nothing that the kernel may drop by itself is left in its page cache.
  void turn_off_and_on() {
    force_off();
    turn_on();
  }

  static std::set<pid_t> pids_of(const Json& report) {
    std::set<pid_t> pids;
    for (const Json& holder : report.at("holders")) pids.insert(holder.at("pid").get<pid_t>());
    return pids;
  }

  static Json holder(const Json& report, pid_t pid) {
    for (const Json& holder : report.at("holders")) {
      if (holder.at("pid") == pid) return holder;
    }
    throw std::runtime_error("no such holder: " + report.dump(1));
  }

  // Objects of `list`, by the value of "dev"; null when it isn't there.
  Json listed(const std::string& dev) {
    for (const Json& object : as_array(pool_.ctl_json({"list", "-N", "--idle"}))) {
      if (object.at("dev") == dev) return object;
    }
    return {};
  }

  TestPool pool_;
};

}  // namespace pmemd
