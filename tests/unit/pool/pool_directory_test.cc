// A pool that somebody else could change is refused, and nothing is touched, whoever planted what.
#include "core/pool/pool_directory.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <functional>

#include "core/pool/pool.h"
#include "tests/unit/pool/pool_fixture.h"

namespace pmemd {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr uint64_t kSize = 16 * kMiB;
constexpr uid_t kOther = 12345;

class PoolDirectoryTest : public PoolFixture {
 protected:
  Error create_error() const {
    const auto pool = Pool::create(path_, kSize, Reservation::kSparse);
    return pool ? Error{} : pool.error();
  }
  Error open_error(Pool::Mode mode = Pool::Mode::kReadWrite) const {
    const auto pool = Pool::open(path_, mode);
    return pool ? Error{} : pool.error();
  }
  std::string file(const std::string& name) const { return path_ + "/" + name; }
  // Puts a link to another file where the pool has one; what that other file holds.
  std::string plant_link(const std::string& name) const {
    std::ofstream(dir_.path() + "/precious") << "precious";
    ::unlink(file(name).c_str());
    EXPECT_EQ(::symlink((dir_.path() + "/precious").c_str(), file(name).c_str()), 0);
    return dir_.path() + "/precious";
  }
  void expect_precious() const { EXPECT_EQ(dir_.read("precious"), "precious"); }
};

TEST_F(PoolDirectoryTest, APlantedLockIsNotFollowed) {
  ASSERT_EQ(create_error().err(), 0);
  plant_link("lock");
  for (const auto mode : {Pool::Mode::kReadWrite, Pool::Mode::kReadOnly}) {
    EXPECT_EQ(open_error(mode).err(), ELOOP);
  }
  EXPECT_THAT(open_error().describe(), AllOf(HasSubstr(file("lock")), HasSubstr("link")));
  expect_precious();
  ASSERT_EQ(::unlink(file("pool.db").c_str()), 0);
  EXPECT_EQ(create_error().err(), ELOOP);
  expect_precious();
}

TEST_F(PoolDirectoryTest, APlantedLockThatLeadsNowhereMakesNoFile) {
  ASSERT_EQ(create_error().err(), 0);
  ::unlink(plant_link("lock").c_str());
  EXPECT_EQ(open_error().err(), ELOOP);
  EXPECT_NE(::access((dir_.path() + "/precious").c_str(), F_OK), 0);
}

TEST_F(PoolDirectoryTest, NoFileOfThePoolMayBeALink) {
  for (const char* const name : {"pool.db-wal", "pool.db-shm", "pool.db-journal", "region0.img"}) {
    ASSERT_EQ(create_error().err(), 0);
    plant_link(name);
    for (const auto mode : {Pool::Mode::kReadWrite, Pool::Mode::kReadOnly}) {
      EXPECT_EQ(open_error(mode).err(), ELOOP) << name;
    }
    EXPECT_THAT(open_error().describe(), HasSubstr(file(name)));
    expect_precious();
    std::filesystem::remove_all(path_);
  }
  ASSERT_EQ(create_error().err(), 0);
  const std::string away = dir_.path() + "/pool.db";
  ASSERT_EQ(::rename(file("pool.db").c_str(), away.c_str()), 0);
  ASSERT_EQ(::symlink(away.c_str(), file("pool.db").c_str()), 0);
  EXPECT_EQ(open_error().err(), ELOOP);
}

TEST_F(PoolDirectoryTest, NoFileOfThePoolMayBeOthersToWrite) {
  ASSERT_EQ(create_error().err(), 0);
  std::ofstream(file("pool.db-wal")) << "";
  std::ofstream(file("pool.db-shm")) << "";
  for (const char* const name : {"lock", "pool.db", "pool.db-wal", "pool.db-shm", "region0.img"}) {
    ASSERT_EQ(::chmod(file(name).c_str(), 0602), 0) << name;
    EXPECT_EQ(open_error().err(), EPERM) << name;
    EXPECT_THAT(open_error().describe(), AllOf(HasSubstr(file(name)), HasSubstr("chmod go-w")));
    ASSERT_EQ(::chmod(file(name).c_str(), 0600), 0);
    if (::geteuid() != 0) continue;
    ASSERT_EQ(::chown(file(name).c_str(), kOther, kOther), 0);
    EXPECT_EQ(open_error().err(), EPERM) << name;
    ASSERT_EQ(::chown(file(name).c_str(), 0, 0), 0);
  }
  EXPECT_EQ(open_error().err(), 0);
}

TEST_F(PoolDirectoryTest, ADirectoryThatOthersCanWriteToIsRefusedAndLeftAlone) {
  ASSERT_EQ(::mkdir(path_.c_str(), 0700), 0);
  for (const mode_t mode : {0702, 01777}) {
    ASSERT_EQ(::chmod(path_.c_str(), mode), 0);
    EXPECT_EQ(create_error().err(), EPERM);
    EXPECT_THAT(create_error().describe(), AllOf(HasSubstr(path_), HasSubstr("chmod go-w")));
    EXPECT_TRUE(std::filesystem::is_empty(path_));
  }
  ASSERT_EQ(::chmod(path_.c_str(), 0755), 0);
  EXPECT_EQ(create_error().err(), 0) << "others may look";
  ASSERT_EQ(::chmod(path_.c_str(), 0757), 0);
  EXPECT_EQ(open_error().err(), EPERM);
  EXPECT_EQ(open_error(Pool::Mode::kReadOnly).err(), EPERM);
}

TEST_F(PoolDirectoryTest, SomebodyElsesDirectoryIsRefusedOnTheWayToo) {
  if (::geteuid() != 0) GTEST_SKIP() << "wants root, to give things away";
  ASSERT_EQ(create_error().err(), 0);
  for (const std::string& theirs : {path_, dir_.path()}) {
    ASSERT_EQ(::chown(theirs.c_str(), kOther, kOther), 0);
    for (const auto mode : {Pool::Mode::kReadWrite, Pool::Mode::kReadOnly}) {
      EXPECT_EQ(open_error(mode).err(), EPERM);
    }
    EXPECT_THAT(open_error().describe(),
                AllOf(HasSubstr("uid 12345"), HasSubstr("chown -h root " + theirs)));
    ASSERT_EQ(::chown(theirs.c_str(), 0, 0), 0);
  }
  EXPECT_EQ(open_error().err(), 0);
}

// Below a sticky directory, as /tmp is, where anybody may have been first.
TEST_F(PoolDirectoryTest, AnOrdinaryUserHasPoolsOfTheirOwnAndNoOthers) {
  if (::geteuid() != 0) GTEST_SKIP() << "wants root, to become somebody else";
  ASSERT_EQ(::chmod(dir_.path().c_str(), 01777), 0);
  const auto as_user = [](uid_t user, const std::function<int()>& test) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(::setresuid(user, user, user) == 0 ? test() : 100);
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
  };
  const auto create = [this] { return create_error().err(); };
  const auto open = [this] { return open_error().err(); };
  EXPECT_EQ(as_user(kOther, create), 0);
  EXPECT_EQ(as_user(kOther, open), 0);
  EXPECT_EQ(as_user(kOther + 1, open), ENOENT) << "can't be looked into";
  EXPECT_EQ(open(), EPERM) << "nor does root use it";
  EXPECT_EQ(as_user(kOther, open), 0) << "nor leave anything there";
}

TEST_F(PoolDirectoryTest, ALinkToAPoolIsFollowed) {
  ASSERT_EQ(create_error().err(), 0);
  const std::string link = dir_.path() + "/link";
  ASSERT_EQ(::symlink("pool", link.c_str()), 0);
  const auto pool = Pool::open(link, Pool::Mode::kReadWrite);
  ASSERT_TRUE(pool) << pool.error().describe();
  EXPECT_EQ((*pool)->path(), path_);
}

TEST_F(PoolDirectoryTest, TellsWhoHasThePool) {
  EXPECT_EQ(pool_owner(path_), 0);
  auto pool = Pool::create(path_, kSize, Reservation::kSparse);
  ASSERT_TRUE(pool);
  EXPECT_EQ(pool_owner(path_), ::getpid());
  pool->reset();
  EXPECT_EQ(pool_owner(path_), 0);
}

// SQLite looks for itself.
TEST_F(PoolDirectoryTest, DatabaseOnTheWayOfALinkIsEloop) {
  ASSERT_EQ(create_error().err(), 0);
  const std::string link = dir_.path() + "/link";
  ASSERT_EQ(::symlink("pool", link.c_str()), 0);
  EXPECT_EQ(Database::open(link + "/pool.db", Database::Mode::kReadWrite).err(), ELOOP);
}

}  // namespace
}  // namespace pmemd
