// All verbs, at random, with valid and invalid arguments, from several connections at once, while
// programs map files, hear events, and are killed. Whatever comes: each call is answered in time
// and by an errno that a verb may answer; a file that was msynced holds at least that when it can
// be mapped again; the daemon lives, `check` is content at the end, and it ends in order.
//
// PMEMD_VERBS_SECONDS says for how long (5); PMEMD_VERBS_SEED which calls (printed; which of them
// meet is up to the scheduler).
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "core/base/mutex.h"
#include "tests/integration/support/control_client.h"
#include "tests/integration/support/harness.h"
#include "tests/stress/support/verb_calls.h"
#include "tests/stress/support/verbs_record.h"

namespace pmemd {
namespace {

constexpr unsigned kCallers = 6;
constexpr uint64_t kMiB = 1 << 20;
constexpr std::string_view kInvalidParameter = "org.varlink.service.InvalidParameter";

// What a verb may say. Not among them: EBADMSG, EFAULT, EBADF, ENOSYS, ... : what can't come
// from any argument, or is our own mistake.
const std::set<int> kLegalErrnos = {EBUSY,  ENXIO,     ENOENT,    EINVAL,     EEXIST,    ENOSPC,
                                    ENOMEM, EIO,       ETIMEDOUT, EOPNOTSUPP, EFBIG,     E2BIG,
                                    EMLINK, ENOTEMPTY, ENODEV,    ERANGE,     ECANCELED, EUCLEAN};

// Those of kKept, whose memory nothing damages.
const std::set<std::string> kKeptObjects = {"namespace0.0", "namespace0.1", "namespace0.2",
                                            "volume0"};

int number_from(const char* variable, int otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : std::atoi(text);
}

// A program that uses one file, and how far it got.
class User {
 public:
  User(std::vector<std::string> args, std::string log) : args_(std::move(args)), log_(log) {
    start();
  }

  // 0: it runs, or was killed and runs again; else what it ended with.
  int mind(bool kill) {
    if (kill) process_->signal(SIGKILL);
    if (!kill && process_->running()) return 0;
    const int code = process_->wait();
    if (code != 128 + SIGKILL) return code;
    start();
    return 0;
  }
  void end() { process_.reset(); }

 private:
  void start() {
    const UniqueFd log(open(log_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
    process_.emplace(Spawn{.args = args_, .err = log.get()});
  }

  std::vector<std::string> args_;
  std::string log_;
  std::optional<Process> process_;
};

class VerbsAtRandomTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    seed_ = static_cast<uint64_t>(
        number_from("PMEMD_VERBS_SEED", static_cast<int>(std::random_device{}() >> 1)));
    std::cout << "PMEMD_VERBS_SEED=" << seed_ << '\n';
    pool_.start({.debug_faults = true});
    control_.emplace(pool_.socket());
    make_kept_objects();
    const Json faults = must("ListFaults", {}).at("faults");
    for (const Json& fault : faults) shared_.steps.push_back(fault.at("step"));
  }

  Json must(const std::string& method, const Json& parameters) {
    const auto answer = control_->call(method, parameters);
    EXPECT_TRUE(answer.done()) << method << parameters.dump() << ": " << answer.message();
    return answer.parameters;
  }

  // namespace0.0, and volume0 on namespace0.1 and 0.2 stay; the others may go.
  void make_kept_objects() {
    must("DestroyNamespace", {{"namespace", "namespace0.0"}, {"force", true}});
    for (int i = 0; i < 3; ++i) must("CreateNamespace", {{"size", 16 * kMiB}});
    must("CreateVolume", {{"type", "striped"}, {"legs", {"namespace0.1", "namespace0.2"}}});
    for (const char* mode : {"devdax", "private", "p2p", "fsdax", "fsdax", "fsdax"}) {
      must("CreateNamespace", {{"size", 16 * kMiB}, {"mode", mode}});
    }
  }

  std::string record_of(size_t i) const { return fmt::format("{}/record{}", pool_.directory(), i); }
  std::vector<std::string> keeper(const char* what, size_t i) const {
    return {program("pmemd_test_verbs_mapper"), what, std::to_string(i + 1),
            pool_.path(kKept.at(i)), record_of(i)};
  }
  void start_users() {
    for (size_t i = 0; i < kKept.size(); ++i) {
      const UniqueFd fd(open(record_of(i).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
      ASSERT_EQ(ftruncate(fd.get(), 4096), 0);
      void* base = mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd.get(), 0);
      ASSERT_NE(base, MAP_FAILED);
      records_.push_back(static_cast<const VerbsRecord*>(base));
      users_.push_back(std::make_unique<User>(keeper("keep", i), users_log()));
    }
    for (const char* file : {"dax0.3", "hmm0.4", "p2p0.5", "pmem0.6/touched"}) {
      users_.push_back(std::make_unique<User>(
          std::vector<std::string>{program("pmemd_test_verbs_mapper"), "touch", pool_.path(file)},
          users_log()));
    }
  }
  std::string users_log() const { return pool_.directory() + "/users.log"; }

  void mind_users(VerbCalls& random) {
    for (auto& user : users_) {
      const int code = user->mind(random.chance(3));
      if (code == 0) continue;
      wrong(fmt::format("a program ended with {}: {}", code, read_file(users_log())));
    }
  }

  // From any thread.
  void wrong(const std::string& what) {
    MutexLock lock(mutex_);
    if (wrongs_.size() < 10) wrongs_.push_back(what);
    stop_ = true;
  }

  void call_until_stopped(uint64_t seed);
  void judge(const VerbCall& call, const std::string& error, const Json& parameters);
  void stream(VerbCalls& calls, const VerbCall& call);
  void give_up_leaks();
  void bring_all_up();

  static constexpr std::array<const char*, 4> kKept = {"pmem0/kept0", "pmem0/kept1", "vol0/kept2",
                                                       "vol0/kept3"};

  TestPool pool_;
  std::optional<ControlClient> control_;
  uint64_t seed_ = 0;
  VerbCalls::Shared shared_;
  std::vector<const VerbsRecord*> records_;
  std::vector<std::unique_ptr<User>> users_;
  std::atomic<bool> stop_ = false;

  Mutex mutex_;
  std::vector<std::string> wrongs_ PMEMD_GUARDED_BY(mutex_);
  std::map<std::string, std::map<std::string, uint64_t>> answers_ PMEMD_GUARDED_BY(mutex_);
};

void VerbsAtRandomTest::judge(const VerbCall& call, const std::string& error,
                              const Json& parameters) {
  const int err = parameters.value("errno", 0);
  {
    MutexLock lock(mutex_);
    ++answers_[call.method][error.empty() ? "done" : err != 0 ? errno_name(err) : error];
  }
  const auto tell = [&](const char* what) {
    wrong(fmt::format("{}: {} {}: {} {}", what, call.method, call.parameters.dump(), error,
                      parameters.dump().substr(0, 1000)));
  };
  if (call.is_invalid) {
    if (error != kInvalidParameter) tell("should be an invalid parameter");
  } else if (!error.empty() && (error != "org.pmemd.Failed" || !kLegalErrnos.contains(err))) {
    tell("not an answer");
  } else if (parameters.value("message", "").find("another namespace") != std::string::npos) {
    tell("served from another's bytes");
  } else if (call.method == "DestroyNamespace" && error.empty()) {
    const std::string name = call.parameters.at("namespace");
    if (name == "namespace0.1" || name == "namespace0.2") tell("a leg was destroyed");
  }
}

// Reads some of the replies, and hangs up.
void VerbsAtRandomTest::stream(VerbCalls& calls, const VerbCall& call) {
  ControlStream stream(pool_.socket());
  stream.send(call.method, call.parameters);
  uint64_t last = 0;
  for (uint64_t most = calls.below(100); most > 0 && !stop_; --most) {
    const auto reply = stream.receive(std::chrono::milliseconds(50));
    if (!reply) return;  // nothing happens
    const Json parameters = reply->value("parameters", Json::object());
    if (const auto event = parameters.find("event"); event != parameters.end()) {
      const uint64_t seq = event->at("seq");
      if (seq <= last) wrong(fmt::format("event {} after {}", seq, last));
      last = seq;
    }
    if (reply->value("continues", false)) continue;
    return judge(call, reply->value("error", ""), parameters);
  }
}

void VerbsAtRandomTest::call_until_stopped(uint64_t seed) {
  VerbCalls calls(seed, shared_);
  std::optional<ControlClient> client;
  try {
    while (!stop_) {
      if (!client) client.emplace(pool_.socket());
      const VerbCall call = calls.next();
      if (call.streams) {
        stream(calls, call);
      } else if (calls.chance(3)) {  // goes without waiting for the answer
        ControlStream(pool_.socket()).send(call.method, call.parameters);
      } else {
        const auto answer = client->call(call.method, call.parameters);
        judge(call, answer.error, answer.parameters);
        if (calls.chance(5)) client.reset();
      }
    }
  } catch (const std::exception& error) {
    wrong(error.what());
  }
}

// References that a fault has leaked would be waited for, in vain, each time.
void VerbsAtRandomTest::give_up_leaks() {
  for (const char* kind : {"volumes", "namespaces"}) {
    // Also of one whose release has failed: it isn't enabled any more.
    for (const Json& object : must("List", {{kind, true}, {"idle", true}}).at(kind)) {
      const Json name = {{"namespace", object.at("dev")}};
      if (must("Refs", name).at("unaccounted") == 0) continue;
      Json removal = name;
      removal.update({{"force", true}, {"abandon", true}, {"drain_timeout_ms", 1000}});
      must("DisableNamespace", removal);
    }
  }
}

// After it, all that is there is enabled. What isn't kept may have lost what it needs for that;
// then it goes.
void VerbsAtRandomTest::bring_all_up() {
  must("ClearFaults", {});
  give_up_leaks();
  for (const char* kind : {"volumes", "namespaces", "volumes"}) {
    const Json all = must("List", {{kind, true}, {"idle", true}}).at(kind);
    for (const Json& object : all) {
      if (!object.contains("state")) continue;
      const std::string name = object.at("dev");
      const bool is_volume = name.starts_with("volume");
      const auto answer = control_->call("EnableNamespace", {{"namespace", name}});
      if (answer.done() || (is_volume && answer.err() == ENXIO)) continue;  // its legs come first
      EXPECT_FALSE(kKeptObjects.contains(name)) << name << answer.message();
      EXPECT_TRUE(answer.err() == EIO || answer.err() == EUCLEAN) << name << answer.message();
      if (is_volume) {
        must("DestroyVolume", {{"volume", name}, {"force", true}});
      } else if (!object.contains("volume")) {
        must("DestroyNamespace", {{"namespace", name}, {"force", true}});
      }
    }
  }
}

TEST_F(VerbsAtRandomTest, AreAnsweredAndLoseNothing) {
  const std::chrono::seconds length(number_from("PMEMD_VERBS_SECONDS", 5));
  start_users();
  std::vector<std::thread> callers;
  for (unsigned i = 0; i < kCallers; ++i) {
    callers.emplace_back([this, i] { call_until_stopped(seed_ * kCallers + i); });
  }
  VerbCalls random(~seed_, shared_);
  const auto end = std::chrono::steady_clock::now() + length;
  while (!stop_ && std::chrono::steady_clock::now() < end) {
    mind_users(random);
    (void)poll(nullptr, 0, 50);
  }
  stop_ = true;
  for (std::thread& caller : callers) caller.join();
  for (auto& user : users_) user->end();
  {
    MutexLock lock(mutex_);
    for (const std::string& what : wrongs_) ADD_FAILURE() << what;
    for (const auto& [method, answers] : answers_) {
      std::cout << method << ':';
      for (const auto& [answer, count] : answers) std::cout << ' ' << answer << ' ' << count;
      std::cout << '\n';
    }
  }
  ASSERT_TRUE(pool_.daemon().running());
  bring_all_up();
  for (size_t i = 0; i < records_.size(); ++i) {
    const Output looked = run(keeper("look", i));
    EXPECT_EQ(looked.code, 0) << kKept.at(i) << ": " << looked.err;
    EXPECT_GT(records_[i]->synced, 0u) << kKept.at(i);
    std::cout << kKept.at(i) << ": mapped " << records_[i]->rounds << " times, msynced "
              << records_[i]->synced << '\n';
  }
  EXPECT_EQ(must("Check", {}).at("findings"), Json::array());
  control_.reset();
  pool_.stop();
  pool_.expect_check_passes();
}

}  // namespace
}  // namespace pmemd
