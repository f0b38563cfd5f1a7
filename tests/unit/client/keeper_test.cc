// The keeper without a daemon: what it does to a program's descriptors and locks. What it asks a
// daemon is in tests/integration/client_library_test.cc.
#include "client/keeper/keeper.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "client/pmemd_client.h"
#include "core/base/unique_fd.h"
#include "tests/sanitizer.h"
#include "tests/unit/client/failing_memory.h"
#include "tests/unit/temporary_directory.h"

namespace pmemd::test {
namespace {

namespace fs = std::filesystem;

void no_sink(KeeperFile /*file*/, const pmemd_event* /*event*/) {}

std::vector<std::string> threads_named(const std::string& wanted) {
  std::vector<std::string> found;
  for (const auto& task : fs::directory_iterator("/proc/self/task")) {
    std::string name;
    std::getline(std::ifstream(task.path() / "comm"), name);
    if (name == wanted) found.push_back(task.path());
  }
  return found;
}

// So many keepers' threads. One that was joined stands in /proc for a moment longer; one that has
// begun has its maker's name for a moment.
void wait_for_keepers(size_t count) {
  while (threads_named("pmemd-ask").size() != count ||
         threads_named("pmemd-watch").size() != count) {
    std::this_thread::yield();
  }
}

size_t descriptors() {
  const fs::directory_iterator all("/proc/self/fd");
  return static_cast<size_t>(std::distance(begin(all), end(all)));
}

constexpr keeper_range kSoft = {KEEPER_IF_POSSIBLE, 0, 0, kPage, kPage};
constexpr keeper_range kHard = {KEEPER_MAPPING, 0, 0, kPage, kPage};

class Keeper : public ::testing::Test {
 protected:
  void SetUp() override {
    SKIP_UNDER_TSAN("descriptors of two tables");
    wait_for_keepers(0);  // of the test before
    ASSERT_EQ(keeper_start(no_sink), 0);
    wait_for_keepers(1);
  }
  void TearDown() override { keeper_stop(); }

  KeeperFile attach_softly(int fd) {
    KeeperFile file = {};
    uint64_t id = 7;
    EXPECT_EQ(keeper_attach(fd, &kSoft, &file, &id), 0);
    EXPECT_EQ(id, 0U);
    EXPECT_NE(file.life, 0U);
    return file;
  }
};

TEST_F(Keeper, ItsThreadsEndWhenItIsStopped) {
  for (int round = 0; round < 20; ++round) {
    keeper_stop();
    EXPECT_FALSE(keeper_runs());
    ASSERT_EQ(keeper_start(no_sink), 0);
    ASSERT_EQ(keeper_start(no_sink), 0);  // nothing
    EXPECT_TRUE(keeper_runs());
  }
  wait_for_keepers(1);
  keeper_stop();
  wait_for_keepers(0);
}

TEST_F(Keeper, TheProgramSeesNoDescriptorMore) {
  const FailingMemory memory(1, 0);
  const size_t before = descriptors();
  const KeeperFile file = attach_softly(memory.fd());
  EXPECT_EQ(descriptors(), before);
  keeper_detach(file, KEEPER_IF_POSSIBLE, 0);
  EXPECT_EQ(descriptors(), before);
}

TEST_F(Keeper, HoldsNothingElseOfTheProgramsOpen) {
  int ends[2];
  keeper_stop();
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  ASSERT_EQ(keeper_start(no_sink), 0);
  writer = UniqueFd();
  char byte;
  EXPECT_EQ(read(reader.get(), &byte, 1), 0);  // the end, at once
}

TEST_F(Keeper, NoFileOfItsIsAStandardStream) {
  const FailingMemory memory(1, 0);
  const KeeperFile file = attach_softly(memory.fd());
  const auto asker = threads_named("pmemd-ask");
  ASSERT_EQ(asker.size(), 1U);
  for (const char* stream : {"0", "1", "2"}) {
    EXPECT_EQ(fs::read_symlink(fs::path(asker[0]) / "fd" / stream), "anon_inode:[eventpoll]");
  }
  keeper_detach(file, KEEPER_IF_POSSIBLE, 0);
}

// The reason for a table of its own: fcntl(2) drops a process's locks on a file with the first of
// its descriptors that is closed.
TEST_F(Keeper, TheProgramKeepsItsPosixLocks) {
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/file";
  const UniqueFd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  ASSERT_EQ(ftruncate(fd.get(), kPage), 0);
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  ASSERT_EQ(fcntl(fd.get(), F_SETLK, &lock), 0);
  const KeeperFile file = attach_softly(fd.get());
  keeper_detach(file, KEEPER_IF_POSSIBLE, 0);
  keeper_stop();
  const UniqueFd other(open(path.c_str(), O_RDWR | O_CLOEXEC));
  struct flock found = {};
  found.l_type = F_WRLCK;
  ASSERT_EQ(fcntl(other.get(), F_OFD_GETLK, &found), 0);
  EXPECT_EQ(found.l_type, F_WRLCK);
  EXPECT_EQ(found.l_pid, getpid());
}

TEST_F(Keeper, TheProgramMayCloseItsDescriptor) {
  FailingMemory memory(1, 0);
  KeeperFile file = {};
  {
    const UniqueFd copy(dup(memory.fd()));
    file = attach_softly(copy.get());
  }
  uint64_t id = 7;
  EXPECT_EQ(keeper_attach_again(file, &kSoft, &id), 0);
  EXPECT_EQ(id, 0U);
  keeper_detach(file, KEEPER_IF_POSSIBLE, 0);
  keeper_detach(file, KEEPER_IF_POSSIBLE, 0);
}

TEST_F(Keeper, AFileIsOpenedOnceAndClosedWithItsLastAttachment) {
  const FailingMemory memory(1, 0);
  const KeeperFile one = attach_softly(memory.fd());
  const KeeperFile two = attach_softly(memory.fd());
  EXPECT_EQ(one.slot, two.slot);
  EXPECT_EQ(one.life, two.life);
  keeper_detach(one, KEEPER_IF_POSSIBLE, 0);
  uint64_t id = 0;
  EXPECT_EQ(keeper_attach_again(two, &kSoft, &id), 0);
  keeper_detach(two, KEEPER_IF_POSSIBLE, 0);
  keeper_detach(two, KEEPER_IF_POSSIBLE, 0);
  EXPECT_EQ(keeper_attach_again(two, &kSoft, &id), -ESTALE);
  const KeeperFile again = attach_softly(memory.fd());
  EXPECT_EQ(again.slot, one.slot);
  EXPECT_NE(again.life, one.life);
  keeper_detach(again, KEEPER_IF_POSSIBLE, 0);
}

TEST_F(Keeper, ManyFilesAtOnce) {
  std::vector<std::unique_ptr<FailingMemory>> memories;
  std::vector<KeeperFile> files;
  memories.reserve(50);
  files.reserve(50);
  for (uint32_t i = 0; i < 50; ++i) {
    memories.push_back(std::make_unique<FailingMemory>(1, 0));
    files.push_back(attach_softly(memories.back()->fd()));
    EXPECT_EQ(files.back().slot, i);
  }
  for (const KeeperFile& file : files) keeper_detach(file, KEEPER_IF_POSSIBLE, 0);
}

TEST_F(Keeper, WhatIsNoFileOfAMountIsAnError) {
  const FailingMemory memory(1, 0);
  KeeperFile file = {};
  uint64_t id = 0;
  EXPECT_EQ(keeper_attach(memory.fd(), &kHard, &file, &id), -ENOTTY);
  EXPECT_EQ(keeper_attach(-1, &kHard, &file, &id), -EBADF);
  pmemd_query query = {0, kPage};
  const KeeperFile soft = attach_softly(memory.fd());
  EXPECT_EQ(keeper_query(soft, &query), -ENOTTY);
  // Beyond the end nobody need be asked.
  query = {kPage, kPage};
  EXPECT_EQ(keeper_query(soft, &query), 0);
  EXPECT_EQ(query.length, 0U);
  keeper_detach(soft, KEEPER_IF_POSSIBLE, 0);
  keeper_stop();
  EXPECT_EQ(keeper_attach(memory.fd(), &kHard, &file, &id), -ESRCH);
  EXPECT_EQ(keeper_query(soft, &query), -ESRCH);
}

TEST_F(Keeper, AChildStartsItsOwn) {
  const FailingMemory memory(1, 0);
  const KeeperFile file = attach_softly(memory.fd());
  const pid_t child = fork();
  if (child == 0) {
    keeper_forget();
    pmemd_query query = {0, kPage};
    if (keeper_query(file, &query) != -ESRCH || keeper_start(no_sink) != 0) _exit(1);
    KeeperFile mine = {};
    uint64_t id = 0;
    if (keeper_attach(memory.fd(), &kSoft, &mine, &id) != 0) _exit(2);
    keeper_detach(mine, KEEPER_IF_POSSIBLE, 0);
    keeper_stop();
    _exit(0);
  }
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  keeper_detach(file, KEEPER_IF_POSSIBLE, 0);
}

TEST(ClientLibrary, AFileOfNoMountCanNotBeRegistered) {
  const FailingMemory memory(1, 0);
  pmemd_registration* registration = nullptr;
  const auto callback = [](const pmemd_event*, void*) { return 0; };
  EXPECT_EQ(pmemd_is_ours(memory.fd()), 0);
  EXPECT_EQ(pmemd_is_ours(-1), -EBADF);
  EXPECT_EQ(pmemd_register(memory.fd(), 0, kPage, memory.base(), callback, nullptr, &registration),
            -ENOTTY);
  EXPECT_EQ(pmemd_register_takeover(memory.fd(), 0, kPage, 100, callback, nullptr, &registration),
            -ENOTTY);
  EXPECT_EQ(pmemd_register(-1, 0, kPage, memory.base(), callback, nullptr, &registration), -EBADF);
  EXPECT_EQ(registration, nullptr);
  pmemd_unregister(nullptr);
  EXPECT_FALSE(keeper_runs());
}

}  // namespace
}  // namespace pmemd::test
