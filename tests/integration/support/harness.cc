#include "tests/integration/support/harness.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <random>
#include <sstream>
#include <stdexcept>

namespace pmemd {
namespace {

namespace stdfs = std::filesystem;

constexpr std::string_view kDirectoryPrefix = "pmemd-test.";

std::string missing_capability() {
  if (geteuid() != 0) return "wants root, to mount in a mount namespace of its own";
  if (access("/dev/fuse", R_OK | W_OK) != 0) return "wants /dev/fuse";
  return "";
}

void enter_own_mount_namespace() {
  static bool entered = false;
  if (entered) return;
  if (unshare(CLONE_NEWNS) != 0) throw_errno("unshare(CLONE_NEWNS)");
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    throw_errno("making mounts private");
  }
  entered = true;
}

// Octal escapes of /proc/self/mountinfo (blanks and backslashes): none of our names has them.
std::vector<std::string> mounts_below(const std::string& directory) {
  std::vector<std::string> found;
  std::ifstream mountinfo("/proc/self/mountinfo");
  for (std::string line; std::getline(mountinfo, line);) {
    std::istringstream fields(line);
    std::string field;
    for (int i = 0; i < 5; ++i) fields >> field;
    if (field == directory || field.starts_with(directory + "/")) found.push_back(field);
  }
  return found;
}

std::string temporary_root() {
  const char* root = getenv("TMPDIR");
  return root != nullptr && *root != '\0' ? root : "/tmp";
}

// Those of test programs that were killed: <prefix><pid>.<random>.
void remove_left_over_directories() {
  std::error_code ignored;
  for (const auto& entry : stdfs::directory_iterator(temporary_root(), ignored)) {
    const std::string name = entry.path().filename();
    if (!name.starts_with(kDirectoryPrefix)) continue;
    pid_t pid = 0;
    std::from_chars(name.data() + kDirectoryPrefix.size(), name.data() + name.size(), pid);
    if (pid > 0 && kill(pid, 0) != 0 && errno == ESRCH) stdfs::remove_all(entry, ignored);
  }
}

// The socket on which the daemon says READY=1 (sd_notify).
class ReadySocket {
 public:
  explicit ReadySocket(std::string path) : path_(std::move(path)) {
    fd_.reset(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
    path_.copy(address.sun_path, sizeof(address.sun_path) - 1);
    unlink(path_.c_str());
    if (bind(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
      throw_errno(path_);
    }
    chmod(path_.c_str(), 0666);  // the daemon may run as an ordinary user
  }
  ~ReadySocket() { unlink(path_.c_str()); }

  std::string variable() const { return "NOTIFY_SOCKET=" + path_; }

  // False when the process ended before it was ready.
  bool wait_until_ready(const Process& process) {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (true) {
      std::array<pollfd, 2> fds{pollfd{fd_.get(), POLLIN, 0}, pollfd{process.pidfd(), POLLIN, 0}};
      const auto left = deadline - std::chrono::steady_clock::now();
      const auto left_ms = std::chrono::duration_cast<std::chrono::milliseconds>(left).count();
      if (left_ms <= 0) throw std::runtime_error("the daemon did not say READY=1 in time");
      if (poll(fds.data(), fds.size(), static_cast<int>(left_ms)) <= 0) continue;
      if (fds[0].revents == 0) return false;
      std::array<char, 4096> text{};
      const ssize_t got = recv(fd_.get(), text.data(), text.size(), 0);
      if (got > 0 && std::string_view(text.data(), got).find("READY=1") != std::string_view::npos) {
        return true;
      }
    }
  }

 private:
  std::string path_;
  UniqueFd fd_;
};

}  // namespace

void MountTest::SetUp() {
  if (const std::string missing = missing_capability(); !missing.empty()) GTEST_SKIP() << missing;
  enter_own_mount_namespace();
  signal(SIGPIPE, SIG_IGN);  // a child that is gone shows as an error of write()
}

TestDirectory::TestDirectory(Storage storage) {
  remove_left_over_directories();
  path_ = fmt::format("{}/{}{}.XXXXXX", temporary_root(), kDirectoryPrefix, getpid());
  if (mkdtemp(path_.data()) == nullptr) throw_errno(path_);
  if (storage == Storage::kMemory && ::mount("tmpfs", path_.c_str(), "tmpfs", 0, nullptr) != 0) {
    throw_errno(path_);
  }
  chmod(path_.c_str(), 0755);
}

TestDirectory::~TestDirectory() {
  std::vector<std::string> mounts = mounts_below(path_);
  for (auto mount = mounts.rbegin(); mount != mounts.rend(); ++mount) {
    umount2(mount->c_str(), MNT_DETACH);
  }
  std::error_code error;
  stdfs::remove_all(path_, error);
  if (error) ADD_FAILURE() << path_ << ": " << error.message();
}

std::string program(const std::string& name) {
  const char* directory = getenv("PMEMD_BIN_DIR");
  return std::string(directory != nullptr ? directory : PMEMD_BIN_DIR) + "/" + name;
}

TestPool::TestPool(Storage storage) : directory_(storage) {
  if (mkdir(mount().c_str(), 0755) != 0) throw_errno(mount());
}

TestPool::~TestPool() {
  // A connection that hangs is aborted, so that its daemon can be ended.
  if (daemon_) {
    daemon_->signal(SIGKILL);
    umount2(mount().c_str(), MNT_FORCE);
  }
  if (::testing::Test::HasFailure()) std::cerr << "the daemon said:\n" << log() << '\n';
}

std::vector<std::string> TestPool::daemon_args(const DaemonOptions& options) const {
  std::vector<std::string> args{program("pmemd"),
                                "--pool=" + options.pool.value_or(pool()),
                                "--mount=" + options.mount.value_or(mount()),
                                "--socket=" + options.socket.value_or(socket()),
                                "--foreground",
                                "--log-level=" + options.log_level};
  if (!options.create.empty()) {
    args.push_back("--create=" + options.create);
    if (options.sparse) args.emplace_back("--sparse");
  }
  if (options.debug_faults) args.emplace_back("--debug-faults");
  if (options.allow_other) args.emplace_back("--allow-other");
  args.insert(args.end(), options.args.begin(), options.args.end());
  return args;
}

void TestPool::start(const DaemonOptions& options) {
  if (const auto refused = try_start(options)) {
    throw std::runtime_error(fmt::format("the daemon ended with {}: {}", refused->code, log()));
  }
}

std::optional<Output> TestPool::try_start(const DaemonOptions& options) {
  daemon_.reset();
  const size_t logged = log().size();
  ReadySocket ready(directory() + "/ready");
  const UniqueFd log_file(
      open((directory() + "/daemon.log").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666));
  std::vector<std::string> env = options.env;
  env.push_back(ready.variable());
  daemon_.emplace(Spawn{.args = daemon_args(options),
                        .env = std::move(env),
                        .out = log_file.get(),
                        .err = log_file.get(),
                        .before_exec = options.before_exec});
  if (ready.wait_until_ready(*daemon_)) return std::nullopt;
  const int code = daemon_->wait();
  return Output{.code = code, .out = {}, .err = log().substr(logged)};
}

Output TestPool::start_and_fail(const DaemonOptions& options) {
  return run(daemon_args(options), {.env = options.env, .before_exec = options.before_exec});
}

void TestPool::stop() {
  daemon_->signal(SIGTERM);
  EXPECT_EQ(daemon_->wait(), 0) << log();
  daemon_.reset();
  EXPECT_FALSE(is_mount_point(mount()));
}

void TestPool::kill9() {
  daemon_->signal(SIGKILL);
  daemon_->wait();
  daemon_.reset();
}

std::string TestPool::log() const {
  std::ifstream file(directory() + "/daemon.log");
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<std::string> TestPool::ctl_args(std::vector<std::string> args) const {
  args.insert(args.begin(), {program("pmemctl"), "--socket", socket()});
  return args;
}

Output TestPool::ctl(std::vector<std::string> args) const { return run(ctl_args(std::move(args))); }

Json TestPool::ctl_json(std::vector<std::string> args) const {
  args.insert(args.begin(), "--json");
  const std::string text = run_ok(ctl_args(std::move(args)));
  return text.empty() ? Json() : Json::parse(text);
}

void TestPool::make_two_namespaces() const {
  ctl_json({"destroy-namespace", "namespace0.0", "--force"});
  ctl_json({"create-namespace", "--size", "128M"});
  ctl_json({"create-namespace", "--mode", "devdax", "--size", "64M"});
}

void TestPool::expect_check_passes() const {
  std::vector<std::string> args = ctl_args({"check"});
  if (!daemon_) args = {program("pmemd"), "--check", "--pool", pool()};
  const Output output = run(args);
  EXPECT_EQ(output.code, 0) << output.out << output.err << log();
}

std::string read_file(const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) throw_errno(path);
  std::string content;
  std::array<char, 65536> buffer{};
  while (true) {
    const ssize_t got = read(fd.get(), buffer.data(), buffer.size());
    if (got < 0) throw_errno(path);
    if (got == 0) return content;
    content.append(buffer.data(), static_cast<size_t>(got));
  }
}

void write_file(const std::string& path, const std::string& content, int flags) {
  const UniqueFd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | flags, 0644));
  if (!fd) throw_errno(path);
  for (size_t done = 0; done < content.size();) {
    const ssize_t put = write(fd.get(), content.data() + done, content.size() - done);
    if (put <= 0) throw_errno(path);
    done += static_cast<size_t>(put);
  }
}

void fsync_path(const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd || fsync(fd.get()) != 0) throw_errno(path);
}

std::string pattern(uint64_t seed, size_t bytes) {
  std::mt19937_64 random(seed);
  std::string text(bytes, '\0');
  for (size_t at = 0; at < bytes; at += sizeof(uint64_t)) {
    const uint64_t word = random();
    memcpy(text.data() + at, &word, std::min(sizeof(word), bytes - at));
  }
  return text;
}

bool is_mount_point(const std::string& path) {
  const auto mounts = mounts_below(path);
  return std::ranges::find(mounts, path) != mounts.end();
}

Json as_array(const Json& printed) {
  if (printed.is_array()) return printed;
  return printed.is_null() ? Json::array() : Json::array({printed});
}

std::string errno_name(int number) {
  const char* name = strerrorname_np(number);
  return number == 0 || name == nullptr ? std::to_string(number) : name;
}

}  // namespace pmemd
