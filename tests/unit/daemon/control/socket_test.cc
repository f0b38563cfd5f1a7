#include "daemon/control/socket.h"

#include <grp.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "tests/unit/temporary_directory.h"

namespace pmemd {
namespace {

class ControlSocketTest : public testing::Test {
 protected:
  Result<ControlSocket> listen(const std::string& group = "") {
    return ControlSocket::listen(path_, group, 0660);
  }
  // 0, or why not.
  int connect() const {
    const UniqueFd client(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    strncpy(address.sun_path, path_.c_str(), sizeof(address.sun_path) - 1);
    const auto* generic = reinterpret_cast<const sockaddr*>(&address);
    return ::connect(client.get(), generic, sizeof(address)) == 0 ? 0 : errno;
  }
  struct stat info() const {
    struct stat result = {};
    EXPECT_EQ(::stat(path_.c_str(), &result), 0);
    return result;
  }
  // What a daemon leaves that was killed.
  void leave_stale_socket() const {
    const UniqueFd dead(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    strncpy(address.sun_path, path_.c_str(), sizeof(address.sun_path) - 1);
    ASSERT_EQ(::bind(dead.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  }
  size_t files() const {
    size_t count = 0;
    for ([[maybe_unused]] const auto& entry :
         std::filesystem::directory_iterator(directory_.path())) {
      ++count;
    }
    return count;
  }

  TemporaryDirectory directory_;
  std::string path_ = directory_.path() + "/control";
};

TEST_F(ControlSocketTest, IsThereWhileItsObjectIs) {
  {
    auto socket = listen();
    ASSERT_TRUE(socket) << socket.error().describe();
    EXPECT_EQ(connect(), 0);
    EXPECT_EQ(files(), 1u);
  }
  EXPECT_EQ(connect(), ENOENT);
  EXPECT_EQ(files(), 0u);
}

TEST_F(ControlSocketTest, BelongsToItsOwnerAndTheGroupIfThereIsOne) {
  const mode_t before = ::umask(077);  // must not matter
  {
    auto socket = listen("no-such-group");
    ASSERT_TRUE(socket);
    EXPECT_EQ(socket->group(), std::nullopt);
    EXPECT_EQ(info().st_mode & 07777, 0600u);
  }
  if (::geteuid() == 0) {
    auto socket = listen("games");
    ASSERT_TRUE(socket);
    EXPECT_EQ(info().st_mode & 07777, 0660u);
    EXPECT_EQ(socket->group(), info().st_gid);
    EXPECT_EQ(info().st_gid, ::getgrnam("games")->gr_gid);
  }
  ::umask(before);
}

TEST_F(ControlSocketTest, MakesItsDirectoryAndTheOnesAbove) {
  path_ = directory_.path() + "/above/run/control";
  ASSERT_TRUE(listen());
  struct stat made = {};
  ASSERT_EQ(::stat((directory_.path() + "/above/run").c_str(), &made), 0);
  EXPECT_EQ(made.st_mode & 07777, 0755u);
}

TEST_F(ControlSocketTest, TakesTheDeadOnesPlace) {
  leave_stale_socket();
  ASSERT_EQ(connect(), ECONNREFUSED);
  auto socket = listen();
  ASSERT_TRUE(socket) << socket.error().describe();
  EXPECT_EQ(connect(), 0);
  EXPECT_EQ(files(), 1u);
}

TEST_F(ControlSocketTest, LeavesTheLivingOneAlone) {
  auto first = listen();
  ASSERT_TRUE(first);
  const struct stat before = info();
  const auto second = listen();
  EXPECT_EQ(second.err(), EADDRINUSE);
  EXPECT_NE(second.error().describe().find(path_), std::string::npos);
  EXPECT_EQ(info().st_ino, before.st_ino);
  EXPECT_EQ(info().st_ctim.tv_nsec, before.st_ctim.tv_nsec);  // not even moved away and back
  EXPECT_EQ(connect(), 0);
  EXPECT_EQ(files(), 1u);
}

TEST_F(ControlSocketTest, LeavesWhatIsNoSocketAlone) {
  ASSERT_EQ(::mkdir(path_.c_str(), 0755), 0);
  EXPECT_EQ(listen().err(), EEXIST);
  ASSERT_EQ(::rmdir(path_.c_str()), 0);
  ASSERT_EQ(::symlink("elsewhere", path_.c_str()), 0);
  EXPECT_EQ(listen().err(), EEXIST);
  EXPECT_EQ(files(), 1u);
}

// Else they could put a link where the socket is chowned and chmodded.
TEST_F(ControlSocketTest, RefusesADirectoryThatOthersCanWriteToUnlessItIsSticky) {
  const std::string directory = directory_.path() + "/open";
  ASSERT_EQ(::mkdir(directory.c_str(), 0700), 0);
  for (const std::string& path : {directory + "/control", directory + "/made/control"}) {
    path_ = path;
    ASSERT_EQ(::chmod(directory.c_str(), 0777), 0);
    const auto refused = listen();
    EXPECT_EQ(refused.err(), EPERM);
    EXPECT_NE(refused.error().describe().find(directory), std::string::npos);
    EXPECT_TRUE(std::filesystem::is_empty(directory));
    ASSERT_EQ(::chmod(directory.c_str(), 01777), 0);
    EXPECT_TRUE(listen());
  }
}

TEST_F(ControlSocketTest, RefusesSomebodyElsesDirectoryAndLink) {
  if (::geteuid() != 0) GTEST_SKIP() << "wants root, to give things away";
  constexpr uid_t kOther = 12345;
  const std::string directory = directory_.path() + "/theirs";
  const std::string link = directory_.path() + "/link";
  ASSERT_EQ(::mkdir(directory.c_str(), 0755), 0);
  ASSERT_EQ(::symlink("theirs", link.c_str()), 0);
  path_ = link + "/control";
  EXPECT_TRUE(listen());
  ASSERT_EQ(::lchown(link.c_str(), kOther, kOther), 0);
  EXPECT_EQ(listen().err(), EPERM);
  path_ = directory + "/control";
  EXPECT_TRUE(listen());
  ASSERT_EQ(::chown(directory.c_str(), kOther, kOther), 0);
  EXPECT_EQ(listen().err(), EPERM);
}

// What a sticky directory lets them leave there.
TEST_F(ControlSocketTest, ADeadSocketOfAnotherUserIsNotTaken) {
  if (::geteuid() != 0) GTEST_SKIP() << "wants root, to become somebody else";
  leave_stale_socket();
  ASSERT_EQ(::chmod(directory_.path().c_str(), 01777), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    constexpr uid_t kOther = 12345;
    ::chmod(path_.c_str(), 0777);
    ::_exit(::setresuid(kOther, kOther, kOther) == 0 ? listen().err() : 100);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), EPERM);
  EXPECT_EQ(files(), 1u);
}

TEST_F(ControlSocketTest, DoesNotRemoveAnothersSocket) {
  auto first = listen();
  ASSERT_TRUE(first);
  ASSERT_EQ(::unlink(path_.c_str()), 0);
  auto second = listen();
  ASSERT_TRUE(second);
  first->remove();
  EXPECT_EQ(connect(), 0);
}

TEST_F(ControlSocketTest, OfDaemonsStartedAtOnceOneWins) {
  for (int round = 0; round < 50; ++round) {
    leave_stale_socket();
    // Each in a process of its own, as daemons are; 0: has it, 1: told that another has.
    std::vector<pid_t> children;
    int ready[2];
    int hold[2];
    ASSERT_EQ(::pipe(ready), 0);
    ASSERT_EQ(::pipe(hold), 0);
    for (int i = 0; i < 4; ++i) {
      const pid_t child = ::fork();
      if (child == 0) {
        ::close(hold[1]);
        auto socket = listen();
        const char told = socket ? 'y' : socket.err() == EADDRINUSE ? 'n' : '?';
        (void)!::write(ready[1], &told, 1);
        char end = 0;
        (void)!::read(hold[0], &end, 1);  // until the parent closes it
        ::_exit(0);
      }
      children.push_back(child);
    }
    ::close(hold[0]);
    std::string told(4, ' ');
    for (char& c : told) ASSERT_EQ(::read(ready[0], &c, 1), 1);
    std::sort(told.begin(), told.end());
    EXPECT_EQ(told, "nnny");
    EXPECT_EQ(connect(), 0);
    ::close(hold[1]);
    for (const pid_t child : children) EXPECT_EQ(::waitpid(child, nullptr, 0), child);
    ::close(ready[0]);
    ::close(ready[1]);
    EXPECT_EQ(connect(), ECONNREFUSED);
    EXPECT_EQ(files(), 1u);
    ASSERT_EQ(::unlink(path_.c_str()), 0);
  }
}

TEST_F(ControlSocketTest, RefusesPathsThatDontFit) {
  path_ = directory_.path() + "/" + std::string(100, 'x');
  EXPECT_EQ(listen().err(), ENAMETOOLONG);
}

TEST(PeerOf, TellsWhoConnected) {
  int pair[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  const UniqueFd one(pair[0]);
  const UniqueFd other(pair[1]);
  const auto peer = peer_of(one.get());
  ASSERT_TRUE(peer);
  EXPECT_EQ(peer->uid, ::geteuid());
  EXPECT_EQ(peer->gid, ::getegid());
  EXPECT_EQ(peer->pid, ::getpid());
  std::vector<gid_t> groups(static_cast<size_t>(::getgroups(0, nullptr)));
  ASSERT_GE(::getgroups(static_cast<int>(groups.size()), groups.data()), 0);
  EXPECT_EQ(peer->groups, groups);
  EXPECT_TRUE(peer->is_member(::getegid()));
  EXPECT_EQ(peer_of(0).err() == 0, false);
}

}  // namespace
}  // namespace pmemd
