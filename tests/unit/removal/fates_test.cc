// Looks that are joined, and what became of real children between them.
#include "core/removal/fates.h"

#include <gtest/gtest.h>
#include <sys/utsname.h>

#include <csignal>
#include <cstdlib>
#include <cstring>

#include "tests/unit/removal/child.h"

namespace pmemd {
namespace {

using Fate = Holder::Fate;

Holder process(pid_t pid, uint64_t started, uint64_t maps_at) {
  Holder holder{.pid = pid, .uid = 0, .comm = "app", .started = started};
  if (maps_at != 0) {
    holder.mappings = {{.ino = 7, .path = "/pmem0/a", .range = {0, 4096}, .addresses = {}}};
    holder.mappings[0].addresses = AddressRange::sized(maps_at, 4096);
  }
  holder.open_files = {{7, "/pmem0/a", 3}};
  return holder;
}

TEST(JoinLooks, KeepsWhoIsGoneAndAddsWhoHasCome) {
  std::vector<Holder> all;
  join_looks(all, {process(1, 10, 0x1000), process(2, 10, 0x1000)});
  join_looks(all, {process(2, 10, 0x2000), process(3, 10, 0x1000)});
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[0].fate, Fate::kLetGo);
  EXPECT_EQ(all[0].mappings.size(), 1u) << "as it was last seen";
  EXPECT_EQ(all[1].fate, Fate::kHolds);
  EXPECT_EQ(all[1].mappings.at(0).addresses.begin, 0x2000u) << "what it has now, not had before";
  EXPECT_EQ(all[2].pid, 3);
}

TEST(JoinLooks, WhoHasUnmappedHasLetGoThoughItHasTheFileOpen) {
  std::vector<Holder> all;
  join_looks(all, {process(1, 10, 0x1000)});
  join_looks(all, {process(1, 10, 0)});
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].fate, Fate::kLetGo);
  EXPECT_EQ(all[0].mappings.size(), 1u);
  join_looks(all, {process(1, 10, 0x3000)});
  EXPECT_EQ(all[0].fate, Fate::kHolds) << "it has mapped it again";
}

TEST(JoinLooks, APidThatHasPassedToAnotherIsTwoProcesses) {
  std::vector<Holder> all;
  join_looks(all, {process(1, 10, 0x1000)});
  join_looks(all, {process(1, 11, 0x1000)});
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].fate, Fate::kLetGo);
  EXPECT_EQ(all[1].fate, Fate::kHolds);
}

Holder holder_of(pid_t pid) {
  const auto stat = process_stat(pid);
  EXPECT_TRUE(stat);
  return process(pid, stat ? stat->started : 0, 0x1000);
}

// Since Linux 6.15 of every process; before, of one that wasn't reaped yet.
bool kernel_tells_of_reaped() {
  utsname names = {};
  ::uname(&names);
  const int major = std::atoi(names.release);
  const char* const dot = std::strchr(names.release, '.');
  return major > 6 || (major == 6 && dot != nullptr && std::atoi(dot + 1) >= 15);
}

TEST(ProcessFates, TellWhoHasEndedAndHow) {
  Child living([] { return uint64_t{0}; });
  Child killed([] { return uint64_t{0}; });
  std::vector<Holder> holders = {holder_of(living.pid()), holder_of(killed.pid())};
  ProcessFates fates;
  fates.watch(holders);
  killed.end();  // and reaps it
  fates.tell(holders);
  EXPECT_EQ(holders[0].fate, Fate::kHolds);
  EXPECT_EQ(holders[0].ended_by, "");
  EXPECT_EQ(holders[1].fate, Fate::kEnded);
  EXPECT_EQ(holders[1].ended_by, kernel_tells_of_reaped() ? "SIGKILL" : "");
}

TEST(ProcessFates, AZombieTellsOnEachKernel) {
  const auto before = ::signal(SIGBUS, SIG_DFL);  // a sanitizer has a handler
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::pause();
    ::_exit(1);
  }
  ::signal(SIGBUS, before);
  std::vector<Holder> holders = {holder_of(pid)};
  ProcessFates fates;
  fates.watch(holders);
  ::kill(pid, SIGBUS);
  siginfo_t ended = {};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(pid), &ended, WEXITED | WNOWAIT), 0);
  fates.tell(holders);
  EXPECT_EQ(holders[0].fate, Fate::kEnded);
  EXPECT_EQ(holders[0].ended_by, "SIGBUS");
  ::waitpid(pid, nullptr, 0);
}

TEST(ProcessFates, AnExitCodeIsTold) {
  int go[2] = {-1, -1};
  ASSERT_EQ(::pipe(go), 0);
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::close(go[1]);
    char end = 0;
    (void)!::read(go[0], &end, 1);
    ::_exit(3);
  }
  std::vector<Holder> holders = {holder_of(pid)};
  ProcessFates fates;
  fates.watch(holders);
  ::close(go[0]);
  ::close(go[1]);
  siginfo_t ended = {};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(pid), &ended, WEXITED | WNOWAIT), 0);
  fates.tell(holders);
  EXPECT_EQ(holders[0].ended_by, "exit 3");
  ::waitpid(pid, nullptr, 0);
}

TEST(ProcessFates, WhoHadEndedBeforeItWasWatchedHasEnded) {
  Child child([] { return uint64_t{0}; });
  std::vector<Holder> holders = {holder_of(child.pid())};
  child.end();
  ProcessFates fates;
  fates.watch(holders);
  fates.tell(holders);
  EXPECT_EQ(holders[0].fate, Fate::kEnded);
  EXPECT_EQ(holders[0].ended_by, "");
}

TEST(ProcessFates, APidOfAnotherProcessIsNotMistakenForIt) {
  Child other([] { return uint64_t{0}; });
  std::vector<Holder> holders = {holder_of(other.pid())};
  holders[0].started -= 1;  // the one before, which had the same pid
  ProcessFates fates;
  fates.watch(holders);
  fates.tell(holders);
  EXPECT_EQ(holders[0].fate, Fate::kEnded);
}

}  // namespace
}  // namespace pmemd
