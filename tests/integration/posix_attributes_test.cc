// POSIX behaviour of attributes: times, modes, owners, xattrs, ACLs, permissions of other users.
// Each test runs on the mount and on the host's file system (tests/integration/support/parity.h).
#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>

#include <algorithm>
#include <array>
#include <ctime>

#include "tests/integration/support/parity.h"

namespace pmemd {
namespace {

constexpr uid_t kUser = 65534;

class PosixAttributes : public ParityTest {};

std::string times_of(const char* path) {
  struct stat st = {};
  if (lstat(path, &st) != 0) return errno_name(errno);
  return fmt::format("{}.{:09} {}.{:09}", st.st_atim.tv_sec, st.st_atim.tv_nsec, st.st_mtim.tv_sec,
                     st.st_mtim.tv_nsec);
}

TEST_F(PosixAttributes, WhichTimesCallsChange) {
  expect_same([](Notes& notes) {
    put("a", "text");
    TRY(mkdir("d", 0755));
    TRY(mkdir("e", 0755));
    const int fd = TRY(open("a", O_RDWR));
    TELL(changed_times({"a", "."}, [&] { write(fd, "x", 1); }));
    TELL(changed_times({"a", "."}, [&] { ftruncate(fd, 1); }));
    TELL(changed_times({"a", "."}, [&] { ftruncate(fd, 1); }));
    TELL(changed_times({"a", "."}, [&] { truncate("a", 1); }));
    TELL(changed_times({"a", "."}, [&] { truncate("a", 100); }));
    TELL(changed_times({"a", "."}, [&] { chmod("a", 0640); }));
    TELL(changed_times({"a", "."}, [&] { chmod("a", 0640); }));
    TELL(changed_times({"a", "."}, [&] { chown("a", 0, 0); }));
    TELL(changed_times({"a", "."}, [&] { chown("a", -1, -1); }));
    TELL(changed_times({"a", "."}, [&] { link("a", "b"); }));
    TELL(changed_times({"a", "."}, [&] { unlink("b"); }));
    TELL(changed_times({"a", "d", "."}, [&] { rename("a", "d/a"); }));
    TELL(changed_times({"d/a", "d", "e"}, [&] { rename("d/a", "e/a"); }));
    TELL(changed_times({"d", "e", "."}, [&] { rename("d", "e/d"); }));
    TELL(changed_times({"e/d", "e"}, [&] { put("e/d/new"); }));
    TELL(changed_times({"e/d", "e"}, [&] { mkdir("e/d/dir", 0700); }));
    TELL(changed_times({"e/d", "e"}, [&] { symlink("x", "e/d/s"); }));
    TELL(changed_times({"e/d", "e"}, [&] { rmdir("e/d/dir"); }));
    TELL(changed_times({"e/a"}, [&] { fallocate(fd, 0, 0, 10); }));
    TELL(changed_times({"e/a"}, [&] { fallocate(fd, 0, 0, 10'000); }));
    TELL(changed_times({"e/a"}, [&] { setxattr("e/a", "user.x", "1", 1, 0); }));
    TELL(changed_times({"e/a"}, [&] { removexattr("e/a", "user.x"); }));
    TELL(changed_times({"e/a"}, [&] { open("e/a", O_RDWR | O_TRUNC); }));
    TELL(changed_times({"e/a"}, [&] { open("e/a", O_RDWR | O_CREAT, 0600); }));
    TELL(changed_times({"e/a", "e"}, [&] { fsync(fd); }));
    TELL(changed_times({"e/a"}, [&] { utimensat(AT_FDCWD, "e/a", nullptr, 0); }));
    TELL(changed_times({"e/a"},
                       [&] { renameat2(AT_FDCWD, "e/a", AT_FDCWD, "e/d/new", RENAME_EXCHANGE); }));
  });
}

TEST_F(PosixAttributes, Utimensat) {
  expect_same([](Notes& notes) {
    put("a");
    TRY(symlink("a", "s"));
    const auto set = [](const char* path, timespec a, timespec m, int flags = 0) {
      const std::array<timespec, 2> times{a, m};
      return utimensat(AT_FDCWD, path, times.data(), flags);
    };
    TRY(set("a", {1, 2}, {3, 999'999'999}));
    TELL(times_of("a"));
    TRY(set("a", {0, UTIME_OMIT}, {5, 6}));
    TELL(times_of("a"));
    TRY(set("a", {7, 8}, {0, UTIME_OMIT}));
    TELL(times_of("a"));
    TRY(set("a", {1, 1'000'000'000}, {1, 1}));
    TRY(set("a", {-5, 5}, {-1, 999'999'999}));
    TELL(times_of("a"));
    TRY(set("a", {4'000'000'000, 1}, {8'000'000'000, 1}));
    TELL(times_of("a"));
    TRY(set("s", {11, 12}, {13, 14}, AT_SYMLINK_NOFOLLOW));
    TELL(times_of("s"));
    TELL(times_of("a"));
    TRY(set("s", {21, 22}, {23, 24}));
    TELL(times_of("a"));
    TRY(set("missing", {1, 1}, {1, 1}));
    TRY(set("a", {0, UTIME_NOW}, {0, UTIME_OMIT}));
    TELL(times_of("a").substr(times_of("a").find(' ')));
  });
}

TEST_F(PosixAttributes, ReadsChangeAtimeByTheRulesOfRelatime) {
  expect_same([](Notes& notes) {
    put("a", "text");
    // What the page cache answers, FUSE doesn't tell the daemon: such a read changes no atime.
    const auto look = [] {
      const UniqueFd fd(open("a", O_RDONLY | O_CLOEXEC));
      posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED);
      char byte = 0;
      (void)!read(fd.get(), &byte, 1);
    };
    TELL(changed_times({"a"}, look));
    TELL(changed_times({"a"}, look));
    chmod("a", 0600);
    TELL(changed_times({"a"}, look));
    const std::array<timespec, 2> old{timespec{1000, 0}, timespec{500, 0}};
    utimensat(AT_FDCWD, "a", old.data(), 0);
    TELL(changed_times({"a"}, look));
  });
}

TEST_F(PosixAttributes, NoatimeKeepsAtime) {
  expect_same([](Notes& notes) {
    TRY(mkdir("d", 0700));
    put("d/a", "text");
    const std::array<timespec, 2> old{timespec{1000, 0}, timespec{2000, 0}};
    for (const int flags : {O_NOATIME, 0}) {
      utimensat(AT_FDCWD, "d/a", old.data(), 0);
      utimensat(AT_FDCWD, "d", old.data(), 0);
      TELL(changed_times({"d/a"}, [&] {
        const UniqueFd fd(open("d/a", O_RDONLY | O_CLOEXEC | flags));
        posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED);
        char byte = 0;
        (void)!read(fd.get(), &byte, 1);
      }));
      TELL(changed_times({"d"}, [&] {
        DIR* const dir = fdopendir(open("d", O_RDONLY | O_DIRECTORY | O_CLOEXEC | flags));
        while (readdir(dir) != nullptr) {
        }
        closedir(dir);
      }));
    }
  });
}

TEST_F(PosixAttributes, ModesOwnersAndUmask) {
  expect_same([](Notes& notes) {
    umask(027);
    put("a");
    TRY(open("b", O_CREAT | O_RDWR, 04777));
    TRY(mkdir("d", 0777));
    TELL(stat_of("a") + "," + stat_of("b") + "," + stat_of("d"));
    TRY(chown("d", 1, 2));
    TRY(chmod("d", 02775));
    put("d/in");
    TRY(mkdir("d/sub", 0777));
    TRY(symlink("x", "d/s"));
    TRY(mkfifo("d/fifo", 0666));
    TELL(stat_of("d/in") + "," + stat_of("d/sub") + "," + stat_of("d/s") + "," + stat_of("d/fifo"));
    TRY(chmod("a", 06755));
    TRY(chown("a", 5, 6));
    TELL(stat_of("a"));
    TRY(chmod("a", 06755));
    const int fd = TRY(open("a", O_RDWR));
    SEE(write(fd, "x", 1));
    TELL(stat_of("a"));
    TRY(lchown("d/s", 7, 8));
    TELL(stat_of("d/s"));
    TRY(fchmodat(AT_FDCWD, "missing", 0600, 0));
    TRY(fchmod(fd, 0));
    TELL(stat_of("a"));
  });
}

TEST_F(PosixAttributes, AsAnOrdinaryUser) {
  expect_same(
      [](Notes& notes) {
        put("a", "x");
        TELL(stat_of("a"));
        TRY(chmod("a", 0400));
        TRY(open("a", O_RDWR));
        TRY(open("a", O_RDONLY));
        TRY(chmod("a", 0200));
        TRY(open("a", O_RDONLY));
        TRY(chown("a", 0, -1));
        TRY(chown("a", -1, 0));
        TRY(chmod("a", 06755));
        const int fd = TRY(open("a", O_RDWR));
        SEE(write(fd, "x", 1));
        TELL(stat_of("a"));
        TRY(mkdir("d", 0500));
        TRY(open("d/x", O_CREAT | O_RDWR, 0600));
        TRY(mkdir("d/x", 0700));
        TRY(mkdir("open", 0700));
        put("open/in");
        TRY(chmod("open", 0600));
        TRY(access("open/in", F_OK));
        TRY(chmod("open", 0300));
        TELL(joined(names_in("open")));
        TRY(unlink("open/in"));
        TRY(mknod("null", S_IFCHR | 0666, 0x103));
        TRY(open("..", O_TMPFILE | O_RDWR, 0600));
        TRY(mkdir("../forbidden", 0700));
        TRY(setxattr("a", "trusted.x", "1", 1, 0));
        TRY(setxattr("a", "user.x", "1", 1, 0));
        TRY(chmod("a", 02755));
        TELL(stat_of("a"));
      },
      kUser);
}

TEST_F(PosixAttributes, StickyDirectories) {
  expect_same([](Notes& notes) {
    TRY(mkdir("t", 0700));
    TRY(chmod("t", 01777));
    put("t/of_root");
    put("t/of_user");
    TRY(chown("t/of_user", kUser, kUser));
    SEE(in_child([] {
      if (setresuid(kUser, kUser, kUser) != 0) return 100;
      return unlink("t/of_root") == 0 ? 0 : errno;
    }));
    SEE(in_child([] {
      if (setresuid(kUser, kUser, kUser) != 0) return 100;
      return rename("t/of_root", "t/x") == 0 ? 0 : errno;
    }));
    SEE(in_child([] {
      if (setresuid(kUser, kUser, kUser) != 0) return 100;
      return rename("t/of_user", "t/mine") == 0 ? 0 : errno;
    }));
    TELL(joined(names_in("t")));
  });
}

TEST_F(PosixAttributes, Xattrs) {
  expect_same([](Notes& notes) {
    put("a");
    TRY(mkdir("d", 0755));
    TRY(symlink("a", "s"));
    std::array<char, 2000> value{};
    SEE(getxattr("a", "user.x", value.data(), value.size()));
    TRY(setxattr("a", "user.x", "value", 5, XATTR_REPLACE));
    TRY(setxattr("a", "user.x", "value", 5, XATTR_CREATE));
    TRY(setxattr("a", "user.x", "other", 5, XATTR_CREATE));
    TRY(setxattr("a", "user.x", "longer", 6, XATTR_REPLACE));
    SEE(getxattr("a", "user.x", nullptr, 0));
    SEE(getxattr("a", "user.x", value.data(), 3));
    SEE(getxattr("a", "user.x", value.data(), value.size()));
    TELL(std::string(value.data(), 6));
    TRY(setxattr("a", "user.empty", "", 0, 0));
    SEE(getxattr("a", "user.empty", value.data(), value.size()));
    TRY(setxattr("a", "trusted.t", "t", 1, 0));
    TRY(setxattr("a", "unknown.t", "t", 1, 0));
    TRY(setxattr("a", "user.", "t", 1, 0));
    TRY(setxattr("a", "", "t", 1, 0));
    TRY(setxattr("a", ("user." + std::string(250, 'n')).c_str(), "1", 1, 0));
    TRY(setxattr("a", ("user." + std::string(251, 'n')).c_str(), "1", 1, 0));
    TRY(lsetxattr("s", "user.x", "1", 1, 0));
    TRY(lsetxattr("s", "trusted.x", "1", 1, 0));
    TRY(setxattr("d", "user.dir", std::string(1500, 'v').data(), 1500, 0));
    SEE(getxattr("d", "user.dir", value.data(), value.size()));
    SEE(listxattr("a", value.data(), 4));
    const ssize_t length = listxattr("a", value.data(), value.size());
    SEE(length);
    std::vector<std::string> names;
    for (const char* name = value.data(); name < value.data() + length;) {
      names.emplace_back(name);
      name += names.back().size() + 1;
    }
    std::ranges::sort(names);
    TELL(joined(names));
    TRY(removexattr("a", "user.x"));
    TRY(removexattr("a", "user.x"));
    TRY(setxattr("missing", "user.x", "1", 1, 0));
    TRY(link("a", "hard"));
    SEE(getxattr("hard", "trusted.t", value.data(), value.size()));
  });
}

TEST_F(PosixAttributes, AccessControlLists) {
  if (run({"sh", "-c", "command -v setfacl"}).code != 0) GTEST_SKIP() << "acl is not installed";
  expect_same([](Notes& notes) {
    // Without a leading "# file:", and with numbers for names: the same on every machine.
    const auto sh = [](const std::string& command) {
      const Output output = run({"sh", "-c", command + " 2>&1"});
      return fmt::format("{} {}", output.code, output.out);
    };
    put("a");
    TRY(mkdir("d", 0755));
    TELL(sh("setfacl -m u:1:rw,g:2:r a && getfacl -cn a; stat -c %a a"));
    TELL(sh("chmod 700 a && getfacl -cn a"));
    TELL(sh("setfacl -m m::r a && getfacl -cn a; stat -c %a a"));
    TELL(sh("setfacl -x u:1 a && getfacl -cn a; stat -c %a a"));
    TELL(sh("setfacl -b a && getfacl -cn a; stat -c %a a; getfattr -dm- a"));
    TELL(sh("setfacl -d -m u:1:rwx,g::r,o::- d && getfacl -cn d"));
    TELL(sh("umask 077; touch d/f; mkdir d/sub; getfacl -cn d/f d/sub; stat -c %a d/f d/sub"));
    TELL(sh("setfacl -d -m u:1:r a"));
    TELL(sh("setfacl -k d && getfacl -cn d"));
    TELL(sh("chmod g+s d/sub; setfacl -m u:3:rwx d/sub; stat -c %a d/sub"));
    TELL(sh("setfacl -m u:65534:r a; chmod 640 a; setpriv --reuid=65534 --clear-groups cat a"));
    TELL(sh("setfacl -m u:65534:- a; chmod o+r a; setpriv --reuid=65534 --clear-groups cat a"));
    TELL(sh("cp -a d/sub copy && getfacl -cn copy"));
  });
}

TEST_F(PosixAttributes, StatfsCountsWhatIsUsed) {
  const std::string base = pool_.path("pmem0");
  struct statvfs before = {}, after = {};
  ASSERT_EQ(statvfs(base.c_str(), &before), 0);
  EXPECT_EQ(before.f_namemax, 255);
  EXPECT_EQ(before.f_bsize, 4096);
  EXPECT_EQ(before.f_blocks * before.f_frsize, 254ul << 20);
  write_file(base + "/a", std::string(1 << 20, 'x'));
  ASSERT_EQ(statvfs(base.c_str(), &after), 0);
  EXPECT_EQ(before.f_bfree - after.f_bfree, 256);
  EXPECT_EQ(truncate((base + "/a").c_str(), 0), 0);
  ASSERT_EQ(statvfs(base.c_str(), &after), 0);
  EXPECT_EQ(before.f_bfree, after.f_bfree);
}

}  // namespace
}  // namespace pmemd
