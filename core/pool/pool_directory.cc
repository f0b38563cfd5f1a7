#include "core/pool/pool_directory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <set>
#include <string_view>
#include <system_error>

#include "core/base/directory.h"
#include "core/pool/schema.h"

namespace pmemd {
namespace {

namespace fs = std::filesystem;

// The big-endian words of SQLite's database header that the version rule needs.
constexpr size_t kHeaderSize = 100;
constexpr std::string_view kHeaderMagic("SQLite format 3\0", 16);
constexpr size_t kUserVersionAt = 60;
constexpr size_t kApplicationIdAt = 68;

int32_t get_big_endian(const std::array<unsigned char, kHeaderSize>& header, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | header[at + i];
  return static_cast<int32_t>(value);
}

// 0 if nobody has written one.
int lock_owner(int fd) {
  std::array<char, 16> text;
  const ssize_t length = ::pread(fd, text.data(), text.size(), 0);
  int pid = 0;
  if (length > 0) std::from_chars(text.data(), text.data() + length, pid);
  return pid;
}

// An error about a file names the pool already.
std::unexpected<Error> of_pool(const std::string& pool, Error error) {
  if (!error.message.starts_with(pool)) error.message = "pool " + pool + ": " + error.message;
  return std::unexpected(std::move(error));
}

}  // namespace

std::string database_path(const std::string& pool) { return pool + "/pool.db"; }
std::string unborn_database_path(const std::string& pool) { return pool + "/pool.db.new"; }
std::string lock_path(const std::string& pool) { return pool + "/lock"; }
std::string image_path(const std::string& pool, uint32_t region) {
  return fmt::format("{}/region{}.img", pool, region);
}

Result<SafeEntry> find_pool(const std::string& pool, Missing missing) {
  auto found = find_safe_entry(pool, LastLink::kFollow, missing);
  if (!found) return of_pool(pool, found.error());
  return found;
}

Result<UniqueFd> open_pool_directory(const SafeEntry& pool) {
  const std::string path = pool.path();
  auto directory = open_safe_directory(pool);
  if (!directory) return of_pool(path, directory.error());
  for (const char* const suffix : {"", "-wal", "-shm", "-journal"}) {
    const std::string name = std::string("pool.db") + suffix;
    const auto safe = check_safe_file(directory->get(), name, fmt::format("{}/{}", path, name));
    if (!safe) return of_pool(path, safe.error());
  }
  return directory;
}

Result<UniqueFd> lock_pool(const UniqueFd& directory, const std::string& pool, LockKind kind) {
  const bool exclusive = kind == LockKind::kExclusive;
  const std::string path = lock_path(pool);
  auto opened = open_safe_file(directory.get(), "lock", path,
                               (exclusive ? O_RDWR : O_RDONLY) | O_CREAT, 0600);
  if (!opened) return of_pool(pool, opened.error());
  UniqueFd fd = *std::move(opened);
  if (::flock(fd.get(), (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return fail_errno(path);
    const int pid = lock_owner(fd.get());
    if (pid == 0) {
      return fail(EBUSY, fmt::format("pool {}: in use by another process", pool), "try again");
    }
    return fail(EBUSY, fmt::format("pool {}: in use by pmemd with pid {}", pool, pid),
                "stop it or use another pool");
  }
  // A failed creation removes the lock that it holds.
  struct stat status = {};
  if (::fstat(fd.get(), &status) != 0 || status.st_nlink == 0) {
    return fail(EBUSY, fmt::format("pool {}: somebody else was creating it", pool), "try again");
  }
  return fd;
}

// Only for a message: a failed write doesn't matter.
void record_lock_owner(const UniqueFd& lock) {
  const std::string text = fmt::format("{}\n", ::getpid());
  clear_lock_owner(lock);
  [[maybe_unused]] const ssize_t written = ::pwrite(lock.get(), text.data(), text.size(), 0);
}

void clear_lock_owner(const UniqueFd& lock) {
  [[maybe_unused]] const int result = ::ftruncate(lock.get(), 0);
}

int pool_owner(const std::string& pool) {
  const UniqueFd lock(
      ::open(lock_path(pool).c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  return lock ? lock_owner(lock.get()) : 0;
}

Result<int32_t> check_version(const std::string& pool) {
  const std::string path = database_path(pool);
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return fail_errno(path);
  std::array<unsigned char, kHeaderSize> header;
  const ssize_t length = ::pread(fd.get(), header.data(), header.size(), 0);
  if (length < 0) return fail_errno(path);
  if (length < static_cast<ssize_t>(kHeaderSize) ||
      std::memcmp(header.data(), kHeaderMagic.data(), kHeaderMagic.size()) != 0 ||
      get_big_endian(header, kApplicationIdAt) != kPoolApplicationId) {
    return fail(EIO, fmt::format("pool {}: pool.db: corrupt, or not a pool's database", pool),
                "restore it from a backup; the images are untouched");
  }
  const int32_t version = get_big_endian(header, kUserVersionAt);
  if (version > kPoolVersion) {
    return fail(ENOTSUP,
                fmt::format("pool {}: format version {} is newer than this pmemd knows ({})", pool,
                            version, kPoolVersion),
                "use a newer pmemd");
  }
  if (version < 1) {
    return fail(EIO, fmt::format("pool {}: pool.db: format version {}: unknown", pool, version),
                "restore it from a backup; the images are untouched");
  }
  return version;
}

// The database is made first and renamed last. So an image beside an unborn database is from an
// interrupted creation, and one without is from a pool that has lost its pool.db.
Result<void> remove_leftovers(const std::string& pool) {
  PMEMD_ASSIGN(const auto found, names_in(pool));
  std::set<std::string> names(found.begin(), found.end());
  if (names.contains("pool.db")) {
    return fail(EEXIST, fmt::format("pool {}: there is one", pool), "start without --create");
  }
  names.erase("lock");
  const bool interrupted = names.contains("pool.db.new");
  for (const std::string& name : names) {
    if (interrupted && (name.starts_with("pool.db.new") || name == "region0.img")) continue;
    return fail(ENOTEMPTY,
                fmt::format("pool {}: the directory holds something else: {}", pool, name),
                "use an empty directory");
  }
  // The unborn database last: it shows that all the rest is left over.
  names.erase("pool.db.new");
  std::error_code error;
  for (const std::string& name : names) fs::remove(fs::path(pool) / name, error);
  if (interrupted) fs::remove(unborn_database_path(pool), error);
  return {};
}

Result<void> sync_directory(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_DIRECTORY | O_CLOEXEC));
  if (!fd || ::fsync(fd.get()) != 0) return fail_errno(path);
  return {};
}

}  // namespace pmemd
