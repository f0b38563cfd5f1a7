#include "tests/integration/support/parity.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <ctime>
#include <filesystem>
#include <sstream>
#include <stdexcept>

namespace pmemd {
namespace {

constexpr long kXfsMagic = 0x58465342;

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

}  // namespace

int Notes::outcome(const char* what, int result) {
  const int error = errno;
  text(what, result == -1 ? errno_name(error) : "ok");
  return result;
}

long Notes::number(const char* what, long result) {
  const int error = errno;
  text(what, result == -1 ? errno_name(error) : std::to_string(result));
  return result;
}

void Notes::text(const char* what, const std::string& value) {
  all_ += fmt::format("{}: {}\n", what, value);
}

void ParityTest::SetUp() {
  MountTest::SetUp();
  if (IsSkipped()) return;
  // No reading ahead of what is touched: pages of holes that are in the page cache count as blocks.
  pool_.start({.create = "256M", .allow_other = true, .args = {"--no-hot-ranges"}});
  reference_ = pool_.directory() + "/reference";
  if (mkdir(reference_.c_str(), 0755) != 0) throw_errno(reference_);
  struct statfs fs = {};
  if (statfs(reference_.c_str(), &fs) != 0) throw_errno(reference_);
  if (fs.f_type == EXT4_SUPER_MAGIC || fs.f_type == kXfsMagic) return;
  if (::mount("tmpfs", reference_.c_str(), "tmpfs", 0, nullptr) != 0) throw_errno(reference_);
}

std::string ParityTest::notes_of(const std::string& directory, const Scenario& scenario,
                                 std::optional<uid_t> uid) {
  if (mkdir(directory.c_str(), 0755) != 0) throw_errno(directory);
  if (uid && chown(directory.c_str(), *uid, *uid) != 0) throw_errno(directory);
  Pipe pipe;
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) throw_errno("fork");
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || chdir(directory.c_str()) != 0) _exit(2);
    umask(022);
    if (uid) become_user(*uid);
    Notes notes;
    scenario(notes);
    notes.text("end", "reached");
    const std::string& all = notes.all();
    _exit(write(pipe.write_end.get(), all.data(), all.size()) == static_cast<ssize_t>(all.size())
              ? 0
              : 1);
  }
  pipe.write_end.reset();
  std::string text;
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  std::array<char, 65536> buffer{};
  for (ssize_t got = 1; got > 0;) {
    if (!wait_readable(pipe.read_end.get(), deadline)) {
      kill(pid, SIGKILL);
      text += "stuck\n";
      break;
    }
    got = read(pipe.read_end.get(), buffer.data(), buffer.size());
    if (got > 0) text.append(buffer.data(), static_cast<size_t>(got));
  }
  waitpid(pid, nullptr, 0);
  return text;
}

void ParityTest::expect_same(const Scenario& scenario, std::optional<uid_t> uid) {
  const std::string name = fmt::format("/s{}", scenarios_++);
  const auto expected = lines_of(notes_of(reference_ + name, scenario, uid));
  const auto found = lines_of(notes_of(pool_.path("pmem0") + name, scenario, uid));
  for (size_t i = 0; i < std::max(expected.size(), found.size()); ++i) {
    const std::string want = i < expected.size() ? expected[i] : "nothing";
    const std::string have = i < found.size() ? found[i] : "nothing";
    EXPECT_EQ(have, want) << "line " << i + 1;
  }
  EXPECT_FALSE(expected.empty());
}

std::string stat_of(const char* path) {
  struct stat st = {};
  if (lstat(path, &st) != 0) return errno_name(errno);
  const char* types = "?pc?d?b?f?l?s???";
  // A directory's size is the file system's own affair.
  return fmt::format("{} {:o} links {} uid {} gid {} size {}", types[(st.st_mode >> 12) & 15],
                     st.st_mode & 07777, st.st_nlink, st.st_uid, st.st_gid,
                     S_ISDIR(st.st_mode) ? 0 : st.st_size);
}

std::vector<std::string> names_in(const char* directory) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    names.push_back(entry.path().filename());
  }
  if (error) names.push_back(errno_name(error.value()));
  std::ranges::sort(names);
  return names;
}

std::string joined(const std::vector<std::string>& words) {
  return fmt::format("{}", fmt::join(words, " "));
}

std::string changed_times(const std::vector<const char*>& paths, const std::function<void()>& act) {
  const auto same = [](timespec a, timespec b) {
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
  };
  std::vector<struct stat> before(paths.size());
  for (size_t i = 0; i < paths.size(); ++i) lstat(paths[i], &before[i]);
  timespec start = {}, now = {};
  for (int ticks = 0; ticks < 2; ++ticks) {
    clock_gettime(CLOCK_REALTIME_COARSE, &start);
    do clock_gettime(CLOCK_REALTIME_COARSE, &now);
    while (same(start, now));
  }
  act();
  std::vector<std::string> changes;
  for (size_t i = 0; i < paths.size(); ++i) {
    struct stat after = {};
    if (lstat(paths[i], &after) != 0) continue;
    std::string changed = std::string(paths[i]) + ":";
    if (!same(before[i].st_atim, after.st_atim)) changed += "a";
    if (!same(before[i].st_mtim, after.st_mtim)) changed += "m";
    if (!same(before[i].st_ctim, after.st_ctim)) changed += "c";
    changes.push_back(changed);
  }
  return joined(changes);
}

void put(const char* path, const std::string& content) { write_file(path, content); }
std::string get(const char* path) { return read_file(path); }

int in_child(const std::function<int()>& act) {
  const pid_t pid = fork();
  if (pid == 0) _exit(act());
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace pmemd
