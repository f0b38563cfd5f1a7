#include "tests/stress/support/mount_walk.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>

#include "core/base/unique_fd.h"
#include "core/image/sigbus_guard.h"
#include "tests/integration/support/harness.h"

namespace pmemd {
namespace {

constexpr int kDepthMax = 6;  // directories may lie in a ring
constexpr size_t kEntriesMax = 1000;
constexpr size_t kPage = 4096;

struct Entry {
  std::string name;
  uint64_t ino = 0;
};

}  // namespace

std::vector<std::optional<std::string>> read_mapped(int fd, uint64_t offset, uint64_t length) {
  std::vector<std::optional<std::string>> pages;
  void* const base = mmap(nullptr, length, PROT_READ, MAP_SHARED, fd, static_cast<off_t>(offset));
  if (base == MAP_FAILED) return pages;
  const auto* const bytes = static_cast<const char*>(base);
  std::array<char, kPage> page{};
  for (uint64_t at = 0; at < length; at += kPage) {
    const size_t part = std::min<uint64_t>(kPage, length - at);
    const bool is_read =
        guarded(bytes + at, part, [&] { std::memcpy(page.data(), bytes + at, part); });
    pages.emplace_back(is_read ? std::optional(std::string(page.data(), part)) : std::nullopt);
  }
  munmap(base, length);
  return pages;
}

void MountWalk::fail(const std::string& path, const char* what) {
  errors.push_back(fmt::format("{}: {}: {}", path, what, errno_name(errno)));
}

void MountWalk::look(const std::string& at, const std::string& path, int depth) {
  struct stat status = {};
  if (lstat(at.c_str(), &status) != 0) return fail(path, "lstat");
  inos[path] = status.st_ino;
  Node node{.type = status.st_mode & S_IFMT,
            .size = S_ISDIR(status.st_mode) ? 0 : static_cast<uint64_t>(status.st_size)};
  look_at_attributes(at, path);
  if (S_ISREG(status.st_mode)) {
    auto bytes = read_head(at, path, node.size);
    if (!bytes) return;
    node.bytes = *std::move(bytes);
  } else if (S_ISLNK(status.st_mode)) {
    std::array<char, 5000> target{};
    const ssize_t got = readlink(at.c_str(), target.data(), target.size());
    if (got < 0) return fail(path, "readlink");
    node.bytes.assign(target.data(), static_cast<size_t>(got));
  }
  found[path] = std::move(node);
  if (S_ISDIR(status.st_mode) && depth < kDepthMax) look_into(at, path, depth);
}

void MountWalk::look_at_attributes(const std::string& at, const std::string& path) {
  std::array<char, 65536> names{};
  const ssize_t length = llistxattr(at.c_str(), names.data(), names.size());
  if (length < 0) {
    if (errno != EOPNOTSUPP) fail(path, "listxattr");
    return;
  }
  std::string value(65536, '\0');
  for (ssize_t next = 0; next < length;) {
    const std::string name(names.data() + next);
    next += static_cast<ssize_t>(name.size()) + 1;
    if (lgetxattr(at.c_str(), name.c_str(), value.data(), value.size()) < 0) {
      fail(path, "getxattr");
    }
  }
}

void MountWalk::look_into(const std::string& at, const std::string& path, int depth) {
  const auto close = [](DIR* dir) { closedir(dir); };
  const std::unique_ptr<DIR, decltype(close)> dir(opendir(at.c_str()), close);
  if (!dir) return fail(path, "opendir");
  std::vector<Entry> entries;
  for (;;) {
    errno = 0;
    const dirent* const entry = readdir(dir.get());
    if (entry == nullptr) {
      if (errno != 0) fail(path, "readdir");
      break;
    }
    const std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    if (entries.size() == kEntriesMax) {
      wrong += path + ": its entries have no end\n";
      break;
    }
    entries.push_back({name, entry->d_ino});
  }
  for (const Entry& entry : entries) {
    const std::string below = path + "/" + entry.name;
    look(at + "/" + entry.name, below, depth + 1);
    if (const auto ino = inos.find(below); ino != inos.end() && ino->second != entry.ino) {
      wrong += fmt::format("{}: two inodes, {} and {}\n", below, ino->second, entry.ino);
    }
  }
}

std::optional<std::string> MountWalk::read_head(const std::string& at, const std::string& path,
                                                uint64_t size) {
  const UniqueFd fd(open(at.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!fd) {
    fail(path, "open");
    return std::nullopt;
  }
  Head head{.bytes = std::string(std::min(size, kHeadBytes), '\0')};
  size_t done = 0;
  while (done < head.bytes.size()) {
    const ssize_t got = pread(fd.get(), head.bytes.data() + done, head.bytes.size() - done,
                              static_cast<off_t>(done));
    if (got < 0) fail(path, "read");
    if (got <= 0) break;
    done += static_cast<size_t>(got);
    head.is_whole = done == head.bytes.size();
  }
  if (head.bytes.empty()) head.is_whole = true;
  head.bytes.resize(done);
  if (!head.is_whole) pieces.push_back({path, 0, head.bytes});
  (void)lseek(fd.get(), 0, SEEK_HOLE);
  (void)lseek(fd.get(), 0, SEEK_DATA);
  // Asked of the daemon again, not of the page cache.
  (void)posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED);
  map_head(fd.get(), path, std::min(size, kHeadBytes), head);
  if (!head.is_whole) return std::nullopt;
  return std::move(head.bytes);
}

void MountWalk::map_head(int fd, const std::string& path, uint64_t size, const Head& head) {
  if (size == 0) return;
  const auto pages = read_mapped(fd, 0, size);
  if (pages.empty()) return fail(path, "mmap");
  for (size_t i = 0; i < pages.size(); ++i) {
    const uint64_t offset = i * kPage;
    if (!pages[i]) {
      errors.push_back(fmt::format("{}: SIGBUS at {}", path, offset));
    } else if (!head.is_whole) {
      pieces.push_back({path, offset, *pages[i]});
    } else if (head.bytes.compare(offset, pages[i]->size(), *pages[i]) != 0) {
      wrong += fmt::format("{}: a mapping shows other bytes than read(2) at {}\n", path, offset);
    }
  }
}

}  // namespace pmemd
