// POSIX behaviour of names: open, link, rename, directories. Each test runs on the mount and on the
// host's file system (tests/integration/support/parity.h).
#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <memory>
#include <set>

#include "tests/integration/support/parity.h"

namespace pmemd {
namespace {

class PosixNames : public ParityTest {};

TEST_F(PosixNames, OpenFlags) {
  expect_same([](Notes& notes) {
    TRY(open("a", O_RDONLY));
    TRY(open("a", O_CREAT | O_EXCL | O_RDWR, 0640));
    TRY(open("a", O_CREAT | O_EXCL | O_RDWR, 0640));
    TRY(open("a", O_CREAT | O_RDWR, 0600));
    TELL(stat_of("a"));
    TRY(open("a", O_DIRECTORY));
    TRY(open("a/", O_RDONLY));
    TRY(open("a/b", O_RDONLY));
    TRY(open("a/b", O_CREAT | O_RDWR, 0600));
    TRY(open("missing/b", O_CREAT | O_RDWR, 0600));
    TRY(mkdir("d", 0755));
    TRY(open("d", O_RDWR));
    TRY(open("d", O_RDONLY | O_CREAT, 0600));
    TRY(open("d", O_RDONLY | O_DIRECTORY));
    TRY(open("d/new/", O_CREAT | O_RDWR, 0600));
    TRY(symlink("a", "to_a"));
    TRY(symlink("nowhere", "dangling"));
    TRY(symlink("loop2", "loop1"));
    TRY(symlink("loop1", "loop2"));
    TRY(open("to_a", O_RDONLY));
    TRY(open("to_a", O_RDONLY | O_NOFOLLOW));
    TRY(open("to_a", O_PATH | O_NOFOLLOW));
    TRY(open("dangling", O_RDONLY));
    TRY(open("dangling", O_CREAT | O_EXCL | O_RDWR, 0600));
    TRY(open("dangling", O_CREAT | O_RDWR, 0600));
    TELL(stat_of("nowhere"));
    TRY(open("loop1", O_RDONLY));
    put("t", "content");
    TRY(open("t", O_RDONLY | O_TRUNC));
    TELL(stat_of("t"));
    const int append = TRY(open("t", O_WRONLY | O_APPEND));
    SEE(pwrite(append, "ab", 2, 0));
    SEE(pwrite(append, "cd", 2, 0));
    TELL(get("t"));
    const int write_only = TRY(open("t", O_WRONLY));
    char byte = 0;
    SEE(read(write_only, &byte, 1));
    const int read_only = TRY(open("t", O_RDONLY));
    SEE(write(read_only, &byte, 1));
    TRY(ftruncate(read_only, 1));
    TRY(mkfifo("fifo", 0644));
    TRY(open("fifo", O_WRONLY | O_NONBLOCK));
    TRY(mknod("socket", S_IFSOCK | 0644, 0));
    TRY(open("socket", O_RDONLY));
    TRY(mknod("null", S_IFCHR | 0666, makedev(1, 3)));
    TELL(stat_of("fifo"));
    TELL(stat_of("socket"));
    TELL(stat_of("null"));
    TRY(open("", O_RDONLY));
  });
}

TEST_F(PosixNames, LengthsOfNamesAndPaths) {
  expect_same([](Notes& notes) {
    const std::string n255(255, 'n'), n256(256, 'n');
    TRY(open(n255.c_str(), O_CREAT | O_RDWR, 0600));
    TRY(open(n256.c_str(), O_CREAT | O_RDWR, 0600));
    TRY(access(n256.c_str(), F_OK));
    TRY(mkdir((n255.substr(1) + "d").c_str(), 0700));
    TRY(mkdir(n256.c_str(), 0700));
    TRY(rename(n255.c_str(), n256.c_str()));
    TRY(link(n255.c_str(), n256.c_str()));
    TRY(symlink("x", n256.c_str()));
    TRY(unlink(n256.c_str()));
    TRY(symlink(std::string(4095, 't').c_str(), "long"));
    TRY(symlink(std::string(4096, 't').c_str(), "longer"));
    TRY(symlink("", "empty"));
    TELL(stat_of("long"));
    std::string buffer(5000, '\0');
    SEE(readlink("long", buffer.data(), 5000));
    SEE(readlink("long", buffer.data(), 100));
    TRY(open("\x01\xff name\twith\nodd\"bytes", O_CREAT | O_RDWR, 0600));
    TELL(std::to_string(names_in(".").size()));
    TRY(unlink("\x01\xff name\twith\nodd\"bytes"));
  });
}

TEST_F(PosixNames, Links) {
  expect_same([](Notes& notes) {
    put("a", "one");
    TRY(link("a", "b"));
    TRY(link("a", "b"));
    TRY(link("missing", "c"));
    TRY(mkdir("d", 0755));
    TRY(link("d", "e"));
    TRY(link("a", "d/a"));
    TELL(stat_of("a"));
    TRY(unlink("a"));
    TELL(stat_of("b"));
    TELL(get("d/a"));
    TRY(symlink("b", "s"));
    TRY(linkat(AT_FDCWD, "s", AT_FDCWD, "s2", 0));
    TRY(linkat(AT_FDCWD, "s", AT_FDCWD, "s3", AT_SYMLINK_FOLLOW));
    TELL(stat_of("s2"));
    TELL(stat_of("s3"));
    TRY(unlink("d"));
    TRY(rmdir("b"));
    TRY(rmdir("d"));
    TRY(unlink("d/a"));
    TRY(rmdir("d"));
    TRY(rmdir("d"));
    TRY(rmdir("."));
    TRY(rmdir("/"));
    TRY(unlink("missing"));
    TRY(unlink("b/"));
  });
}

TEST_F(PosixNames, UnlinkedFilesLiveWhileTheyAreOpen) {
  expect_same([](Notes& notes) {
    const int fd = TRY(open("a", O_CREAT | O_RDWR, 0600));
    SEE(write(fd, "text", 4));
    TRY(unlink("a"));
    TELL(stat_of("a"));
    struct stat st = {};
    TRY(fstat(fd, &st));
    TELL(std::to_string(st.st_nlink));
    SEE(write(fd, "more", 4));
    char buffer[16] = {};
    SEE(pread(fd, buffer, sizeof(buffer), 0));
    TELL(std::string(buffer));
    TRY(ftruncate(fd, 100'000));
    TRY(fchmod(fd, 0777));
    const std::string self = fmt::format("/proc/self/fd/{}", fd);
    TRY(linkat(AT_FDCWD, self.c_str(), AT_FDCWD, "back", AT_SYMLINK_FOLLOW));
    TRY(open(self.c_str(), O_RDONLY));
    TRY(mkdir("d", 0755));
    const int directory = TRY(open("d", O_DIRECTORY));
    TRY(rmdir("d"));
    TRY(openat(directory, "x", O_CREAT | O_RDWR, 0600));
    TRY(mkdirat(directory, "x", 0700));
    TRY(fstat(directory, &st));
    TELL(std::to_string(st.st_nlink));
    TRY(openat(directory, "..", O_DIRECTORY));
  });
}

TEST_F(PosixNames, Tmpfile) {
  expect_same([](Notes& notes) {
    const int fd = TRY(open(".", O_TMPFILE | O_RDWR, 0640));
    SEE(write(fd, "text", 4));
    struct stat st = {};
    TRY(fstat(fd, &st));
    TELL(fmt::format("{:o} {} {}", st.st_mode, st.st_nlink, st.st_size));
    TELL(joined(names_in(".")));
    const std::string self = fmt::format("/proc/self/fd/{}", fd);
    TRY(linkat(AT_FDCWD, self.c_str(), AT_FDCWD, "a", AT_SYMLINK_FOLLOW));
    TELL(stat_of("a"));
    TELL(get("a"));
    TRY(linkat(fd, "", AT_FDCWD, "b", AT_EMPTY_PATH));
    TELL(stat_of("b"));
    const int never = TRY(open(".", O_TMPFILE | O_RDWR | O_EXCL, 0600));
    const std::string never_path = fmt::format("/proc/self/fd/{}", never);
    TRY(linkat(AT_FDCWD, never_path.c_str(), AT_FDCWD, "c", AT_SYMLINK_FOLLOW));
    TRY(open(".", O_TMPFILE | O_RDONLY, 0600));
    TRY(open("a", O_TMPFILE | O_RDWR, 0600));
    TRY(open("missing", O_TMPFILE | O_RDWR, 0600));
    TELL(joined(names_in(".")));
  });
}

TEST_F(PosixNames, Rename) {
  expect_same([](Notes& notes) {
    put("a", "a");
    put("b", "b");
    TRY(rename("a", "c"));
    TRY(rename("c", "b"));
    TELL(get("b"));
    TRY(rename("missing", "b"));
    TRY(rename("b", "b"));
    TRY(link("b", "b2"));
    TRY(rename("b", "b2"));
    TELL(joined(names_in(".")));
    TRY(mkdir("d", 0755));
    TRY(mkdir("d/sub", 0755));
    TRY(mkdir("e", 0755));
    TELL(stat_of("."));
    TRY(rename("b", "d"));
    TRY(rename("d", "b"));
    TRY(rename("d", "d/sub/x"));
    TRY(rename("d/sub", "d"));
    TRY(rename("e", "d"));
    TRY(rename("d", "e"));
    TELL(stat_of("e"));
    TRY(rename("e/sub", "moved"));
    TELL(stat_of("e"));
    TELL(stat_of("."));
    TRY(rename("e", "new/"));
    TRY(rename("b", "file/"));
    TRY(rename("b", "missing/x"));
    TRY(rename(".", "x"));
    TRY(rename("moved", "moved/.."));
    TELL(joined(names_in(".")));
    const int moved = TRY(open("moved", O_DIRECTORY));
    TRY(rename("moved", "new/moved"));
    TRY(openat(moved, "../../b", O_RDONLY));
  });
}

TEST_F(PosixNames, RenameFlags) {
  expect_same([](Notes& notes) {
    const auto rename2 = [](const char* from, const char* to, unsigned flags) {
      return renameat2(AT_FDCWD, from, AT_FDCWD, to, flags);
    };
    put("a", "a");
    put("b", "b");
    TRY(mkdir("d", 0755));
    put("d/in", "in");
    TRY(rename2("a", "b", RENAME_NOREPLACE));
    TRY(rename2("a", "c", RENAME_NOREPLACE));
    TRY(rename2("c", "a", RENAME_NOREPLACE));
    TRY(rename2("a", "b", RENAME_EXCHANGE));
    TELL(get("a") + get("b"));
    TRY(rename2("a", "missing", RENAME_EXCHANGE));
    TRY(rename2("a", "d", RENAME_EXCHANGE));
    TELL(stat_of("a"));
    TELL(stat_of("d"));
    TELL(get("a/in"));
    TRY(rename2("a", "a/in", RENAME_EXCHANGE));
    TRY(rename2("a/in", "a", RENAME_EXCHANGE));
    TRY(rename2("d", "a/in", RENAME_EXCHANGE));
    TELL(get("d") + get("a/in"));
    TRY(mkdir("a/x", 0755));
    TRY(mkdir("e", 0755));
    TRY(rename2("b", "a/x", RENAME_EXCHANGE));
    TELL(stat_of("a") + stat_of(".") + stat_of("b"));
    TRY(rename2("a", "b", RENAME_EXCHANGE | RENAME_NOREPLACE));
    TRY(rename2("a", "b", 0x80));
    TELL(joined(names_in(".")));
  });
}

TEST_F(PosixNames, Directories) {
  expect_same([](Notes& notes) {
    TRY(mkdir("d", 0755));
    TRY(mkdir("d", 0755));
    TRY(mkdir("d/", 0755));
    TRY(mkdir("missing/x", 0755));
    put("f");
    TRY(mkdir("f/x", 0755));
    TRY(mkdir("m", 07777));
    TELL(stat_of("m"));
    for (int i = 0; i < 10; ++i) mkdir(fmt::format("d/{}", i).c_str(), 0755);
    TELL(stat_of("d"));
    TRY(rmdir("d"));
    TELL(joined(names_in("d")));
    std::unique_ptr<DIR, int (*)(DIR*)> dir(opendir("d"), closedir);
    std::set<std::string> seen;
    while (const dirent* entry = readdir(dir.get())) {
      seen.insert(fmt::format("{}{}", entry->d_name, entry->d_type == DT_DIR ? "/" : "?"));
    }
    TELL(joined({seen.begin(), seen.end()}));
    rewinddir(dir.get());
    SEE(telldir(dir.get()));
    TRY(chdir("d/3"));
    TRY(rmdir("../3"));
    TRY(open("x", O_CREAT | O_RDWR, 0600));
    TRY(chdir(".."));
    TELL(joined(names_in(".")));
    struct stat dot = {}, parent = {};
    TRY(stat("..", &parent));
    TRY(stat("4/../..", &dot));
    TELL(std::to_string(dot.st_ino == parent.st_ino));
  });
}

// Whatever goes and comes while it is read, what stays is seen once.
TEST_F(PosixNames, TenThousandEntriesReadWhileTheyAreDeleted) {
  expect_same([](Notes& notes) {
    constexpr int kEntries = 10'000;
    mkdir("d", 0755);
    for (int i = 0; i < kEntries; ++i) {
      close(open(fmt::format("d/{}", i).c_str(), O_CREAT | O_WRONLY, 0600));
    }
    std::unique_ptr<DIR, int (*)(DIR*)> dir(opendir("d"), closedir);
    std::multiset<int> seen;
    int deleted = 0;
    while (const dirent* entry = readdir(dir.get())) {
      if (entry->d_name[0] == '.') continue;
      const int number = std::atoi(entry->d_name);
      seen.insert(number);
      // The odd ones go as they are seen.
      if (number % 2 != 0 && unlinkat(dirfd(dir.get()), entry->d_name, 0) == 0) ++deleted;
    }
    SEE(deleted);
    SEE(static_cast<long>(seen.size()));
    int twice = 0;
    for (int i = 0; i < kEntries; ++i) twice += seen.count(i) != 1;
    SEE(twice);
    SEE(static_cast<long>(names_in("d").size()));
  });
}

TEST_F(PosixNames, SeekdirComesBackToWhereTelldirWas) {
  expect_same([](Notes& notes) {
    for (int i = 0; i < 500; ++i) put(fmt::format("{}", i).c_str());
    std::unique_ptr<DIR, int (*)(DIR*)> dir(opendir("."), closedir);
    for (int i = 0; i < 100; ++i) readdir(dir.get());
    const long position = telldir(dir.get());
    std::vector<std::string> first, again;
    while (const dirent* entry = readdir(dir.get())) first.emplace_back(entry->d_name);
    seekdir(dir.get(), position);
    while (const dirent* entry = readdir(dir.get())) again.emplace_back(entry->d_name);
    TELL(std::to_string(first == again));
    SEE(static_cast<long>(first.size()));
  });
}

}  // namespace
}  // namespace pmemd
