// A pool of its own for each test, served by a real daemon on a real mount.
//
// Everything lies in one temporary directory, which goes with the TestPool. The test program lives
// in a mount namespace of its own: whatever happens to it, its mounts go with its last process.
// To look inside while one hangs: nsenter --mount --target <pid of the test>.
//
// What can't be set up, or doesn't happen in time, throws (tests/integration/support/process.h).
// Thread contract: one thread, the main one; path functions: any.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "tests/integration/support/process.h"

namespace pmemd {

using Json = nlohmann::json;

// Tests that mount derive from this: they are skipped, with the reason, where that can't be had.
class MountTest : public ::testing::Test {
 protected:
  void SetUp() override;
};

// A temporary directory (below TMPDIR or /tmp), removed with all mounts below it. In memory (a
// tmpfs of its own) it is for tests that sync a lot: a killed daemon loses nothing that a disk
// would keep.
enum class Storage { kDisk, kMemory };

class TestDirectory {
 public:
  explicit TestDirectory(Storage storage);
  ~TestDirectory();
  TestDirectory(const TestDirectory&) = delete;
  TestDirectory& operator=(const TestDirectory&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// A program of this build: "pmemd", "pmemctl".
std::string program(const std::string& name);

// The daemon, from its start until it ends.
struct DaemonOptions {
  std::string create = "256M";  // --create; "": none
  bool sparse = true;
  bool allow_other = false;
  bool debug_faults = false;
  std::string log_level = "warn";
  std::vector<std::string> args = {};  // any others
  // Other than the test's own.
  std::optional<std::string> pool = {}, mount = {}, socket = {};
  std::vector<std::string> env = {};
  std::function<void()> before_exec = {};
};

class TestPool {
 public:
  explicit TestPool(Storage storage = Storage::kDisk);
  ~TestPool();
  TestPool(const TestPool&) = delete;
  TestPool& operator=(const TestPool&) = delete;

  std::string directory() const { return directory_.path(); }
  std::string pool() const { return directory() + "/pool"; }
  std::string mount() const { return directory() + "/mnt"; }
  std::string socket() const { return directory() + "/control"; }
  // "pmem0/a" → where the mount shows it.
  std::string path(const std::string& name) const { return mount() + "/" + name; }

  // Starts the daemon and waits until it says that it is ready.
  void start(const DaemonOptions& options = {});
  // The same of a daemon that may refuse. Nothing: it is ready; else its exit code, and as `err`
  // what this start has said.
  std::optional<Output> try_start(const DaemonOptions& options = {});
  // Runs the daemon where it should refuse; its exit code and what it said.
  Output start_and_fail(const DaemonOptions& options = {});
  void stop();   // SIGTERM; expects exit code 0 and the mount gone
  void kill9();  // and reaps it; the mount stays behind, dead
  Process& daemon() { return *daemon_; }
  bool is_running() const { return daemon_ && daemon_->running(); }
  std::string log() const;  // what the daemon said on stderr, all starts

  // pmemctl with our socket.
  Output ctl(std::vector<std::string> args) const;
  // The same; throws unless it exits with 0. Parsed stdout of --json; null when there is none.
  Json ctl_json(std::vector<std::string> args) const;
  std::vector<std::string> ctl_args(std::vector<std::string> args) const;

  // Replaces what --create made by namespace0.0 (fsdax, 128 MiB) and namespace0.1 (devdax, 64 MiB).
  void make_two_namespaces() const;
  // Fails the test unless `pmemctl check`, online or offline as the daemon runs or not, is content.
  void expect_check_passes() const;

 private:
  std::vector<std::string> daemon_args(const DaemonOptions& options) const;

  TestDirectory directory_;
  std::optional<Process> daemon_;
};

// --- small helpers

// Whole files, by plain open, read and write.
std::string read_file(const std::string& path);
void write_file(const std::string& path, const std::string& content, int flags = 0);
void fsync_path(const std::string& path);
// Deterministic bytes that differ from page to page.
std::string pattern(uint64_t seed, size_t bytes);
// Is something mounted there?
bool is_mount_point(const std::string& path);
// pmemctl prints one object bare, several as an array and none not at all: always an array.
Json as_array(const Json& printed);
// "EBUSY"; "0" for 0.
std::string errno_name(int number);

}  // namespace pmemd
