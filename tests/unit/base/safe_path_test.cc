// What somebody else could change is refused, with who, where and the way on; what only root and we
// can change is found.
#include "core/base/safe_path.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <functional>

#include "tests/unit/temporary_directory.h"

namespace pmemd {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr uid_t kOther = 12345;

class SafePathTest : public ::testing::Test {
 protected:
  std::string make_directory(const std::string& name, mode_t mode = 0755) const {
    const std::string path = dir_.path() + "/" + name;
    EXPECT_EQ(::mkdir(path.c_str(), 0700), 0) << path;
    EXPECT_EQ(::chmod(path.c_str(), mode), 0);
    return path;
  }
  std::string make_file(const std::string& name, mode_t mode = 0600) const {
    const std::string path = dir_.path() + "/" + name;
    std::ofstream(path) << "precious";
    EXPECT_EQ(::chmod(path.c_str(), mode), 0);
    return path;
  }
  static Error error_of(const std::string& path) {
    const auto entry = find_safe_entry(path, LastLink::kFollow);
    return entry ? Error{} : entry.error();
  }
  // As a directory of its own.
  static Error directory_error(const std::string& path) {
    const auto entry = find_safe_entry(path, LastLink::kFollow);
    if (!entry) return entry.error();
    const auto fd = open_safe_directory(*entry);
    return fd ? Error{} : fd.error();
  }
  Error file_error(const std::string& name) const {
    const UniqueFd directory(::open(dir_.path().c_str(), O_PATH | O_CLOEXEC));
    const auto fd = open_safe_file(directory.get(), name, dir_.path() + "/" + name, O_RDWR);
    const auto checked = check_safe_file(directory.get(), name, dir_.path() + "/" + name);
    EXPECT_EQ(fd.err(), checked.err());
    return fd ? Error{} : fd.error();
  }

  const TemporaryDirectory dir_;
};

// --- the way

TEST_F(SafePathTest, FindsWhatIsThereAndWhatIsMissing) {
  const std::string way = make_directory("a");
  const auto entry = find_safe_entry(way + "//./x/", LastLink::kFollow);
  ASSERT_TRUE(entry) << entry.error().describe();
  EXPECT_EQ(entry->directory_path, way);
  EXPECT_EQ(entry->name, "x");
  EXPECT_EQ(entry->path(), way + "/x");
  EXPECT_EQ(error_of(way + "/missing/x").err(), ENOENT);
  make_file("a/f");
  EXPECT_EQ(error_of(way + "/f").err(), 0);
  EXPECT_EQ(error_of(way + "/f/x").err(), ENOTDIR);
  EXPECT_EQ(directory_error(way + "/f").err(), ENOTDIR);
  EXPECT_EQ(directory_error(way + "/x").err(), ENOENT);
  EXPECT_EQ(directory_error(way).err(), 0);
}

TEST_F(SafePathTest, MakesMissingDirectoriesOnTheWayWhereItIsAsked) {
  const std::string way = make_directory("a");
  const mode_t umask_before = ::umask(022);
  const auto entry = find_safe_entry(way + "/b/c/../c/x", LastLink::kFollow, Missing::kMake);
  ::umask(umask_before);
  ASSERT_TRUE(entry) << entry.error().describe();
  EXPECT_EQ(entry->path(), way + "/b/c/x");
  struct stat made = {};
  ASSERT_EQ(::stat((way + "/b/c").c_str(), &made), 0);
  EXPECT_EQ(made.st_mode & 07777, 0755U);
  EXPECT_NE(::access((way + "/b/c/x").c_str(), F_OK), 0) << "not the entry itself";
  make_file("a/f");
  const auto below_file = find_safe_entry(way + "/f/x/y", LastLink::kFollow, Missing::kMake);
  EXPECT_EQ(below_file.err(), ENOTDIR);
}

TEST_F(SafePathTest, MakesNothingWhereOthersMayWrite) {
  make_directory("open", 0777);
  const auto entry = find_safe_entry(dir_.path() + "/open/b/x", LastLink::kFollow, Missing::kMake);
  EXPECT_EQ(entry.err(), EPERM);
  EXPECT_NE(::access((dir_.path() + "/open/b").c_str(), F_OK), 0);
}

TEST_F(SafePathTest, KnowsDotsRelativePathsAndTheRoot) {
  const std::string way = make_directory("a");
  make_directory("a/b");
  const auto up = find_safe_entry(way + "/b/../b/..", LastLink::kFollow);
  ASSERT_TRUE(up) << up.error().describe();
  EXPECT_EQ(up->path(), way);
  EXPECT_EQ(error_of("/").err(), EINVAL);
  EXPECT_EQ(error_of("/..").err(), EINVAL);
  const auto top = find_safe_entry("/nothing", LastLink::kFollow);
  ASSERT_TRUE(top);
  EXPECT_EQ(top->path(), "/nothing");
  const std::string before = std::filesystem::current_path();
  std::filesystem::current_path(way);
  const auto relative = find_safe_entry("b", LastLink::kFollow);
  std::filesystem::current_path(before);
  ASSERT_TRUE(relative);
  EXPECT_EQ(relative->path(), way + "/b");
}

TEST_F(SafePathTest, FollowsOurLinksAndKeepsTheLastOneIfAsked) {
  const std::string way = make_directory("a");
  make_directory("a/b");
  ASSERT_EQ(::symlink("a", (dir_.path() + "/relative").c_str()), 0);
  ASSERT_EQ(::symlink(way.c_str(), (dir_.path() + "/absolute").c_str()), 0);
  for (const char* const link : {"/relative", "/absolute"}) {
    const auto entry = find_safe_entry(dir_.path() + link + "/b", LastLink::kFollow);
    ASSERT_TRUE(entry) << entry.error().describe();
    EXPECT_EQ(entry->path(), way + "/b");
    const auto followed = find_safe_entry(dir_.path() + link, LastLink::kFollow);
    ASSERT_TRUE(followed);
    EXPECT_EQ(followed->path(), way);
    const auto kept = find_safe_entry(dir_.path() + link, LastLink::kKeep);
    ASSERT_TRUE(kept);
    EXPECT_EQ(kept->path(), dir_.path() + link);
    EXPECT_EQ(open_safe_directory(*kept).err(), ENOTDIR);
  }
}

TEST_F(SafePathTest, LinksInACircleAreEloop) {
  ASSERT_EQ(::symlink("circle", (dir_.path() + "/circle").c_str()), 0);
  EXPECT_EQ(error_of(dir_.path() + "/circle/x").err(), ELOOP);
}

TEST_F(SafePathTest, ADirectoryThatAnybodyCanWriteToIsRefusedUnlessItIsStickyAndOnTheWay) {
  const std::string open = make_directory("open", 0777);
  make_directory("open/below");
  EXPECT_EQ(error_of(open + "/below").err(), EPERM);
  EXPECT_THAT(error_of(open + "/below").describe(),
              AllOf(HasSubstr(open), HasSubstr("0777"), HasSubstr("chmod go-w")));
  ASSERT_EQ(::chmod(open.c_str(), 01777), 0);
  EXPECT_EQ(directory_error(open + "/below").err(), 0);
  EXPECT_EQ(directory_error(open).err(), EPERM) << "as the last one";
}

TEST_F(SafePathTest, ADirectoryThatAGroupCanWriteToIsRefused) {
  if (::geteuid() != 0) GTEST_SKIP() << "wants root, to give things away";
  const std::string shared = make_directory("shared", 0775);
  ASSERT_EQ(::chown(shared.c_str(), 0, kOther), 0);
  EXPECT_EQ(error_of(shared + "/x").err(), EPERM);
  EXPECT_THAT(error_of(shared + "/x").describe(),
              AllOf(HasSubstr("group 12345"), HasSubstr("chmod g-w")));
}

TEST_F(SafePathTest, SomebodyElsesDirectoryIsRefusedWithItsOwner) {
  if (::geteuid() != 0) GTEST_SKIP() << "wants root, to give things away";
  const std::string theirs = make_directory("theirs");
  make_directory("theirs/below");
  ASSERT_EQ(::chown(theirs.c_str(), kOther, kOther), 0);
  for (const Error& error : {error_of(theirs + "/below"), directory_error(theirs)}) {
    EXPECT_EQ(error.err(), EPERM);
    EXPECT_THAT(error.describe(), AllOf(HasSubstr(theirs + ":"), HasSubstr("uid 12345"),
                                        HasSubstr("chown -h root " + theirs)));
  }
}

TEST_F(SafePathTest, SomebodyElsesLinkIsRefused) {
  if (::geteuid() != 0) GTEST_SKIP() << "wants root, to give things away";
  const std::string sticky = make_directory("sticky", 01777);
  make_directory("real");
  const std::string link = sticky + "/link";
  ASSERT_EQ(::symlink((dir_.path() + "/real").c_str(), link.c_str()), 0);
  EXPECT_EQ(error_of(link).err(), 0);
  ASSERT_EQ(::lchown(link.c_str(), kOther, kOther), 0);
  EXPECT_EQ(error_of(link).err(), EPERM);
  EXPECT_EQ(error_of(link + "/x").err(), EPERM);
}

// Run in a process of its own; its exit code.
int in_child(const std::function<int()>& test) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(test());
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

TEST_F(SafePathTest, WhoCannotEnterGetsEacces) {
  const std::string closed = make_directory("closed", 0);
  EXPECT_EQ(in_child([&] {
              if (::geteuid() == 0 && ::setresuid(kOther, kOther, kOther) != 0) return 100;
              return error_of(closed + "/x/y").err();
            }),
            EACCES);
}

// It shows a root's directory, and never answers: it isn't asked.
TEST_F(SafePathTest, AFuseFileSystemOfSomebodyElseIsRefused) {
  if (::geteuid() != 0 || ::access("/dev/fuse", R_OK | W_OK) != 0)
    GTEST_SKIP() << "wants root and /dev/fuse";
  const std::string theirs = make_directory("theirs");
  const auto error_with_owner = [&](uid_t owner) {
    return in_child([&] {
      const UniqueFd fuse(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
      if (::unshare(CLONE_NEWNS) != 0 ||
          ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
          ::mount("theirs", theirs.c_str(), "fuse", 0,
                  fmt::format("fd={},rootmode=40755,user_id={},group_id=0,allow_other", fuse.get(),
                              owner)
                      .c_str()) != 0) {
        return 100;
      }
      return directory_error(theirs).err();
    });
  };
  EXPECT_EQ(error_with_owner(kOther), EPERM);
  EXPECT_EQ(error_with_owner(0), 0);
}

// As of `unshare -Ur`: to root there, "/" belongs to nobody.
TEST_F(SafePathTest, InAUserNamespaceUnmappedOwnersCountAsRoot) {
  const std::string way = make_directory("a");
  ASSERT_EQ(::chmod(dir_.path().c_str(), 0755), 0);
  const int code = in_child([&] {
    if (::geteuid() == 0 && ::setresuid(kOther, kOther, kOther) != 0) return 100;
    ::prctl(PR_SET_DUMPABLE, 1);  // /proc/self is its own again
    const std::string map = fmt::format("0 {} 1", ::geteuid());
    if (::unshare(CLONE_NEWUSER) != 0) return 77;
    const UniqueFd file(::open("/proc/self/uid_map", O_WRONLY | O_CLOEXEC));
    if (::write(file.get(), map.data(), map.size()) != static_cast<ssize_t>(map.size())) return 77;
    return directory_error(way).err();
  });
  if (code == 77) GTEST_SKIP() << "no user namespace to be had";
  EXPECT_EQ(code, 0);
}

// --- files

TEST_F(SafePathTest, AFileOfOursIsOpened) {
  make_file("f", 0644);
  EXPECT_EQ(file_error("f").err(), 0);
}

TEST_F(SafePathTest, AMissingFileIsEnoentToOpenAndSafeToCheck) {
  const UniqueFd directory(::open(dir_.path().c_str(), O_PATH | O_CLOEXEC));
  EXPECT_EQ(open_safe_file(directory.get(), "f", "f", O_RDWR).err(), ENOENT);
  EXPECT_EQ(check_safe_file(directory.get(), "f", "f").err(), 0);
}

TEST_F(SafePathTest, LinksAreNeitherFollowedNorMadeUse) {
  make_file("target");
  ASSERT_EQ(::symlink("target", (dir_.path() + "/link").c_str()), 0);
  EXPECT_EQ(file_error("link").err(), ELOOP);
  ASSERT_EQ(::symlink("nothing", (dir_.path() + "/dangling").c_str()), 0);
  const UniqueFd directory(::open(dir_.path().c_str(), O_PATH | O_CLOEXEC));
  EXPECT_EQ(open_safe_file(directory.get(), "dangling", "dangling", O_RDWR | O_CREAT, 0600).err(),
            ELOOP);
  EXPECT_NE(::access((dir_.path() + "/nothing").c_str(), F_OK), 0);
}

TEST_F(SafePathTest, OtherThanRegularFilesAreEioAndBlockNobody) {
  ASSERT_EQ(::mkfifo((dir_.path() + "/fifo").c_str(), 0600), 0);
  EXPECT_EQ(file_error("fifo").err(), EIO);
}

TEST_F(SafePathTest, AFileThatOthersCanWriteToIsRefused) {
  make_file("f", 0622);
  EXPECT_EQ(file_error("f").err(), EPERM);
  EXPECT_THAT(file_error("f").describe(), AllOf(HasSubstr("0622"), HasSubstr("chmod go-w")));
}

TEST_F(SafePathTest, AFileWithASecondNameIsRefused) {
  const std::string path = make_file("f");
  ASSERT_EQ(::link(path.c_str(), (path + "2").c_str()), 0);
  EXPECT_EQ(file_error("f").err(), EPERM);
  EXPECT_THAT(file_error("f").describe(), HasSubstr("2 names"));
}

TEST_F(SafePathTest, SomebodyElsesFileIsRefused) {
  if (::geteuid() != 0) GTEST_SKIP() << "wants root, to give things away";
  const std::string path = make_file("f");
  ASSERT_EQ(::chown(path.c_str(), kOther, kOther), 0);
  EXPECT_EQ(file_error("f").err(), EPERM);
}

}  // namespace
}  // namespace pmemd
