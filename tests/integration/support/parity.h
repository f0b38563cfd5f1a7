// The same calls on the mount and on the host's file system: what a program sees must be the same.
//
// A scenario runs in a directory of its own that is its working directory, in a process of its own.
// It notes what it sees, call by call:
//   TRY(open("a", O_RDONLY))        notes the errno or "ok"; its value is the call's
//   SEE(write(fd, "x", 1))          notes the errno or the number
// Both notes must then be equal, line by line. The host's file system is the reference: the one of
// the temporary directory if that is ext4 or XFS; otherwise (overlayfs in a container) a tmpfs.
//
// Thread contract: a test's main thread, which has no others (scenarios are forked).
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "tests/integration/support/harness.h"

namespace pmemd {

class Notes {
 public:
  // "what: ok", or "what: ENOENT" when the result is -1.
  int outcome(const char* what, int result);
  // "what: 17", or the errno.
  long number(const char* what, long result);
  void text(const char* what, const std::string& value);

  const std::string& all() const { return all_; }

 private:
  std::string all_;
};

#define TRY(call) notes.outcome(#call, (call))
#define SEE(call) notes.number(#call, (call))
#define TELL(expr) notes.text(#expr, (expr))

using Scenario = std::function<void(Notes& notes)>;

class ParityTest : public MountTest {
 protected:
  void SetUp() override;
  // Runs it on both; `uid`: as an ordinary user who owns the directory.
  void expect_same(const Scenario& scenario, std::optional<uid_t> uid = {});

  TestPool pool_;

 private:
  std::string notes_of(const std::string& directory, const Scenario& scenario,
                       std::optional<uid_t> uid);

  std::string reference_;
  int scenarios_ = 0;
};

// --- what scenarios look at

// "f 644 links 1 uid 0 gid 0 size 5", of the link itself; or an errno.
std::string stat_of(const char* path);
// Names in a directory, sorted, without "." and "..".
std::vector<std::string> names_in(const char* directory);
std::string joined(const std::vector<std::string>& words);
// Which of their times (a, m, c) `act` changes: "a:mc d:mc". It waits for the clock's next tick
// before, so that a change shows.
std::string changed_times(const std::vector<const char*>& paths, const std::function<void()>& act);
// Makes a file with this content.
void put(const char* path, const std::string& content = "");
std::string get(const char* path);
// What a child process returns (0 to 255).
int in_child(const std::function<int()>& act);

}  // namespace pmemd
