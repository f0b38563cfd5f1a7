// POSIX behaviour of locks across processes, and of file handles. Each test runs on the mount and
// on the host's file system (tests/integration/support/parity.h).
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <array>
#include <cstring>

#include "tests/integration/support/parity.h"

namespace pmemd {
namespace {

class PosixLocks : public ParityTest {};

// The errno that another process gets, or 0.
int elsewhere(const std::function<bool(int fd)>& act) {
  return in_child([&] {
    const int fd = open("a", O_RDWR);
    return fd >= 0 && act(fd) ? 0 : errno;
  });
}

int record_lock(int fd, int command, short type, off_t start, off_t length) {
  struct flock lock = {};
  lock.l_type = type;
  lock.l_start = start;
  lock.l_len = length;
  return fcntl(fd, command, &lock);
}

TEST_F(PosixLocks, Flock) {
  expect_same([](Notes& notes) {
    put("a");
    const int fd = TRY(open("a", O_RDWR));
    const int other = TRY(open("a", O_RDWR));
    const auto try_lock = [](int how) {
      return [how](int file) { return flock(file, how | LOCK_NB) == 0; };
    };
    TRY(flock(fd, LOCK_SH));
    SEE(elsewhere(try_lock(LOCK_SH)));
    SEE(elsewhere(try_lock(LOCK_EX)));
    TRY(flock(other, LOCK_EX | LOCK_NB));
    TRY(flock(other, LOCK_SH | LOCK_NB));
    TRY(flock(other, LOCK_UN));
    TRY(flock(fd, LOCK_EX | LOCK_NB));
    SEE(elsewhere(try_lock(LOCK_SH)));
    TRY(close(fd));
    SEE(elsewhere(try_lock(LOCK_EX)));
    TRY(flock(other, 99));
  });
}

TEST_F(PosixLocks, RecordLocks) {
  expect_same([](Notes& notes) {
    put("a", std::string(100, 'x'));
    const int fd = TRY(open("a", O_RDWR));
    const auto try_lock = [](short type, off_t start, off_t length) {
      return [=](int file) { return record_lock(file, F_SETLK, type, start, length) == 0; };
    };
    TRY(record_lock(fd, F_SETLK, F_WRLCK, 10, 10));
    SEE(elsewhere(try_lock(F_RDLCK, 0, 10)));
    SEE(elsewhere(try_lock(F_RDLCK, 0, 11)));
    SEE(elsewhere(try_lock(F_WRLCK, 20, 0)));
    SEE(elsewhere(try_lock(F_WRLCK, 19, 1)));
    TRY(record_lock(fd, F_SETLK, F_UNLCK, 12, 4));
    SEE(elsewhere(try_lock(F_WRLCK, 12, 4)));
    SEE(elsewhere(try_lock(F_WRLCK, 11, 1)));
    TRY(record_lock(fd, F_SETLK, F_RDLCK, 0, 0));
    SEE(elsewhere(try_lock(F_RDLCK, 0, 0)));
    SEE(elsewhere([&](int file) {
      struct flock lock = {};
      lock.l_type = F_WRLCK;
      const bool asked = fcntl(file, F_GETLK, &lock) == 0;
      errno = lock.l_type == F_RDLCK && lock.l_pid == getppid() ? 0 : 99;
      return asked && errno == 0;
    }));
    const int second = TRY(open("a", O_RDONLY));
    TRY(close(second));  // any close of the file by the process drops all its locks
    SEE(elsewhere(try_lock(F_WRLCK, 0, 0)));
  });
}

TEST_F(PosixLocks, OpenFileDescriptionLocks) {
  expect_same([](Notes& notes) {
    put("a", std::string(100, 'x'));
    const int fd = TRY(open("a", O_RDWR));
    const int other = TRY(open("a", O_RDWR));
    TRY(record_lock(fd, F_OFD_SETLK, F_WRLCK, 0, 10));
    TRY(record_lock(other, F_OFD_SETLK, F_WRLCK, 5, 10));
    TRY(record_lock(other, F_OFD_SETLK, F_WRLCK, 10, 10));
    SEE(elsewhere([](int file) { return record_lock(file, F_OFD_SETLK, F_RDLCK, 0, 1) == 0; }));
    TRY(close(fd));
    TRY(record_lock(other, F_OFD_SETLK, F_WRLCK, 5, 10));
  });
}

// A lock that is waited for is granted when its holder dies.
TEST_F(PosixLocks, WaitersGetTheLockOfADeadProcess) {
  expect_same([](Notes& notes) {
    put("a");
    std::array<int, 2> ready{};
    if (pipe(ready.data()) != 0) return;
    const pid_t holder = fork();
    if (holder == 0) {
      const int fd = open("a", O_RDWR);
      const bool locked = record_lock(fd, F_SETLK, F_WRLCK, 0, 0) == 0 && flock(fd, LOCK_EX) == 0;
      (void)!write(ready[1], locked ? "y" : "n", 1);
      pause();
      _exit(0);
    }
    char answer = 0;
    SEE(read(ready[0], &answer, 1));
    SEE(answer);
    const int fd = TRY(open("a", O_RDWR));
    TRY(record_lock(fd, F_SETLK, F_WRLCK, 0, 0));
    kill(holder, SIGKILL);
    TRY(record_lock(fd, F_SETLKW, F_WRLCK, 0, 0));
    TRY(flock(fd, LOCK_EX));
  });
}

class PosixHandles : public ParityTest {};

class Handle {
 public:
  file_handle* get() { return reinterpret_cast<file_handle*>(bytes_.data()); }

 private:
  alignas(file_handle) std::array<unsigned char, sizeof(file_handle) + MAX_HANDLE_SZ> bytes_{};
};

int handle_of(const char* path, Handle& handle) {
  int mount = 0;
  handle.get()->handle_bytes = MAX_HANDLE_SZ;
  return name_to_handle_at(AT_FDCWD, path, handle.get(), &mount, 0);
}

TEST_F(PosixHandles, OpenByHandle) {
  expect_same([](Notes& notes) {
    put("a", "text");
    TRY(mkdir("d", 0755));
    put("d/in", "inner");
    Handle a, d, in;
    TRY(handle_of("a", a));
    TRY(handle_of("d", d));
    TRY(handle_of("d/in", in));
    const int here = TRY(open(".", O_DIRECTORY));
    const int fd = TRY(open_by_handle_at(here, a.get(), O_RDWR));
    std::array<char, 16> buffer{};
    SEE(read(fd, buffer.data(), buffer.size()));
    TELL(std::string(buffer.data()));
    const int directory = TRY(open_by_handle_at(here, d.get(), O_RDONLY | O_DIRECTORY));
    TRY(openat(directory, "in", O_RDONLY));
    TRY(openat(directory, "..", O_RDONLY | O_DIRECTORY));
    TRY(rename("d/in", "moved"));
    const int moved = TRY(open_by_handle_at(here, in.get(), O_RDONLY));
    SEE(read(moved, buffer.data(), buffer.size()));
    TELL(std::string(buffer.data(), 5));
    TRY(unlink("moved"));
    TRY(close(moved));
    TRY(open_by_handle_at(here, in.get(), O_RDONLY));
    put("new", "new");  // must not be found by an old handle
    TRY(open_by_handle_at(here, in.get(), O_RDONLY));
  });
}

// Handles mean the same file after the daemon's end, and never another.
TEST_F(PosixHandles, SurviveARestart) {
  write_file(pool_.path("pmem0/a"), "text");
  write_file(pool_.path("pmem0/gone"), "gone");
  Handle a, gone;
  ASSERT_EQ(handle_of(pool_.path("pmem0/a").c_str(), a), 0);
  ASSERT_EQ(handle_of(pool_.path("pmem0/gone").c_str(), gone), 0);
  ASSERT_EQ(unlink(pool_.path("pmem0/gone").c_str()), 0);
  pool_.stop();
  pool_.start({.allow_other = true});
  write_file(pool_.path("pmem0/new"), "new");
  const UniqueFd mount(open(pool_.mount().c_str(), O_DIRECTORY));
  const UniqueFd fd(open_by_handle_at(mount.get(), a.get(), O_RDONLY));
  ASSERT_TRUE(fd) << errno_name(errno);
  std::array<char, 8> text{};
  EXPECT_EQ(read(fd.get(), text.data(), text.size()), 4);
  EXPECT_STREQ(text.data(), "text");
  EXPECT_EQ(open_by_handle_at(mount.get(), gone.get(), O_RDONLY), -1);
  EXPECT_EQ(errno, ESTALE);
}

}  // namespace
}  // namespace pmemd
