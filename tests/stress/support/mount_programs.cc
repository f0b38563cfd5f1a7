#include "tests/stress/support/mount_programs.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>
#include <vector>

#include "core/base/unique_fd.h"
#include "core/image/sigbus_guard.h"
#include "tests/integration/support/harness.h"

namespace pmemd {
namespace {

constexpr int kDepthMax = 6;
constexpr size_t kEntriesMax = 1000;
constexpr size_t kPage = 4096;
constexpr off_t kHole = 5000;

bool put(int fd, const std::string& bytes, off_t offset) {
  return pwrite(fd, bytes.data(), bytes.size(), offset) == static_cast<ssize_t>(bytes.size());
}

// From the daemon, whatever the page cache has. Nothing: it can't be read.
std::optional<std::string> get(int fd, size_t length, off_t offset) {
  (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  std::string bytes(length, '\0');
  size_t done = 0;
  while (done < length) {
    const ssize_t got =
        pread(fd, bytes.data() + done, length - done, offset + static_cast<off_t>(done));
    if (got < 0) return std::nullopt;
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  bytes.resize(done);
  return bytes;
}

std::string check_written(int fd, const std::string& bytes, off_t offset, const char* how) {
  const auto read = get(fd, bytes.size(), offset);
  if (!read || *read == bytes) return {};
  return fmt::format("{} bytes at {}, {}, aren't read\n", bytes.size(), offset, how);
}

// Stores through a mapping, and syncs it.
std::string store(int fd, const std::string& bytes, off_t page) {
  void* const base = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, page);
  if (base == MAP_FAILED) return {};
  const bool is_stored =
      guarded(base, kPage, [&] { std::memcpy(base, bytes.data(), bytes.size()); });
  const bool is_synced = is_stored && msync(base, kPage, MS_SYNC) == 0;
  munmap(base, kPage);
  return is_synced ? check_written(fd, bytes, page, "stored and synced") : std::string();
}

std::string append(const std::string& path, const std::string& bytes) {
  const UniqueFd fd(open(path.c_str(), O_RDWR | O_APPEND | O_NONBLOCK | O_CLOEXEC));
  struct stat before = {}, after = {};
  if (!fd || fstat(fd.get(), &before) != 0) return {};
  const ssize_t done = write(fd.get(), bytes.data(), bytes.size());
  if (done != static_cast<ssize_t>(bytes.size()) || fsync(fd.get()) != 0) return {};
  if (fstat(fd.get(), &after) != 0) return {};
  if (after.st_size != before.st_size + done) return path + ": appended, but not longer\n";
  return check_written(fd.get(), bytes, before.st_size, "appended and synced");
}

// Each name and each error is somebody else's concern.
void move_about(const std::string& directory) {
  const std::string file = directory + "/new", dir = directory + "/new-dir";
  if (mkdir(dir.c_str(), 0755) != 0) return;
  (void)rename(file.c_str(), (dir + "/moved").c_str());
  (void)link((dir + "/moved").c_str(), file.c_str());
  (void)symlink("new", (dir + "/symlink").c_str());
  (void)rename((directory + "/dir").c_str(), (dir + "/dir").c_str());
  (void)rename((dir + "/dir").c_str(), (directory + "/dir").c_str());
  (void)unlink((dir + "/moved").c_str());
  (void)unlink((dir + "/symlink").c_str());
  (void)rmdir(dir.c_str());
}

std::vector<std::string> names_in(const std::string& directory) {
  std::vector<std::string> names;
  const auto close = [](DIR* dir) { closedir(dir); };
  const std::unique_ptr<DIR, decltype(close)> dir(opendir(directory.c_str()), close);
  while (dir && names.size() < kEntriesMax) {
    const dirent* const entry = readdir(dir.get());
    if (entry == nullptr) break;
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  return names;
}

}  // namespace

std::string use_directory(const std::string& directory, bool zeros) {
  const std::string path = directory + "/new";
  const std::string data = pattern(7, 100'000);
  const UniqueFd fd(open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (!fd) return {};
  std::string wrong;
  if (put(fd.get(), data, kHole) && fsync(fd.get()) == 0) {
    wrong += check_written(fd.get(), data, kHole, "written and synced");
    const auto hole = get(fd.get(), kHole, 0);
    if (zeros && hole && *hole != std::string(kHole, '\0')) wrong += "a hole isn't zeros\n";
  }
  wrong += store(fd.get(), pattern(8, kPage), 2 * kPage);
  wrong += append(path, pattern(9, 10'000));
  if (fsetxattr(fd.get(), "user.new", "value", 5, 0) == 0) {
    std::string value(16, '\0');
    const ssize_t got = fgetxattr(fd.get(), "user.new", value.data(), value.size());
    if (got >= 0 && value.substr(0, static_cast<size_t>(got)) != "value") wrong += "an xattr\n";
  }
  (void)fallocate(fd.get(), 0, 1 << 20, 64 << 10);
  (void)fallocate(fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 8192, 16384);
  move_about(directory);
  struct stat status = {};
  if (ftruncate(fd.get(), 100) == 0 && fstat(fd.get(), &status) == 0 && status.st_size != 100) {
    wrong += "cut to 100 bytes, and has another size\n";
  }
  (void)unlink(path.c_str());
  struct statvfs space = {};
  (void)statvfs(directory.c_str(), &space);
  if (!wrong.empty()) wrong = directory + ": " + wrong;
  return wrong;
}

std::string change_file(const std::string& path, uint64_t seed) {
  const UniqueFd fd(open(path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!fd) return {};
  std::string wrong;
  const std::string data = pattern(seed, 9000);
  if (put(fd.get(), data, 100) && fsync(fd.get()) == 0) {
    wrong += check_written(fd.get(), data, 100, "written over and synced");
  }
  wrong += append(path, pattern(seed + 1, 5000));
  wrong += store(fd.get(), pattern(seed + 2, kPage), 0);
  if (!wrong.empty()) wrong = path + ": " + wrong;
  return wrong;
}

void change_and_remove_all(const std::string& directory, uint64_t seed, int depth) {
  for (const std::string& name : names_in(directory)) {
    const std::string path = directory + "/" + name, renamed = path + "-renamed";
    struct stat status = {};
    if (lstat(path.c_str(), &status) != 0) continue;
    if (S_ISDIR(status.st_mode) && depth < kDepthMax) {
      change_and_remove_all(path, seed, depth + 1);
    }
    if (S_ISREG(status.st_mode)) {
      (void)change_file(path, seed);
      (void)truncate(path.c_str(), status.st_size + 100'000);
      (void)truncate(path.c_str(), 4097);
      (void)lsetxattr(path.c_str(), "user.more", "value", 5, 0);
    }
    (void)chmod(path.c_str(), 0600);
    (void)rename(path.c_str(), renamed.c_str());
    for (const std::string& gone : {renamed, path}) {
      if (unlink(gone.c_str()) != 0) (void)rmdir(gone.c_str());
    }
  }
}

}  // namespace pmemd
