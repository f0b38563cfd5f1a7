#include "tests/stress/support/hostile_user.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "client/pmemd_ioctl.h"
#include "tests/integration/support/client_memory.h"
#include "tests/integration/support/process.h"

namespace pmemd {
namespace {

constexpr size_t kBufferBytes = 1 << 20;
constexpr size_t kMaxKept = 64;
constexpr off_t kOwnBytes = 2 << 20;  // what it fills of a file: others want space, too
constexpr unsigned kOwnFiles = 8;

constexpr std::array<unsigned long, 13> kIoctls = {
    PMEMD_IOC_PIN,        PMEMD_IOC_UNPIN,  PMEMD_IOC_MAP,      PMEMD_IOC_UNMAP,
    PMEMD_IOC_READ_EVENT, PMEMD_IOC_ANSWER, PMEMD_IOC_TAKEOVER, PMEMD_IOC_END_TAKEOVER,
    PMEMD_IOC_QUERY,      PMEMD_IOC_INFO,   PMEMD_IOC_MIGRATE,  PMEMD_IOC_P2P_ALLOC,
    PMEMD_IOC_P2P_FREE};

void on_alarm(int /*signal*/) {}

// A signal every so often, so that requests are interrupted in their midst.
void ring_every(suseconds_t microseconds) {
  const itimerval timer = {{0, microseconds}, {0, microseconds}};
  setitimer(ITIMER_REAL, &timer, nullptr);
}

}  // namespace

HostileUser::HostileUser(Battlefield battlefield, uint64_t seed)
    : field_(std::move(battlefield)), random_(seed) {
  struct sigaction action = {};
  action.sa_handler = on_alarm;  // no SA_RESTART
  sigaction(SIGALRM, &action, nullptr);
  sigaction(SIGIO, &action, nullptr);
  struct sigaction fault = {};
  fault.sa_sigaction = on_sigbus;
  fault.sa_flags = SA_SIGINFO;
  sigaction(SIGBUS, &fault, nullptr);
  rlimit files = {};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  buffer_ = static_cast<char*>(
      mmap(nullptr, kBufferBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (buffer_ == MAP_FAILED) throw_errno("mmap");
}

HostileUser::~HostileUser() { munmap(buffer_, kBufferBytes); }

uint64_t HostileUser::run(std::chrono::steady_clock::time_point end) {
  static const std::vector<Attack> attacks = {
      &HostileUser::wild_ioctls,     &HostileUser::wild_ioctls,
      &HostileUser::claims,          &HostileUser::migrations,
      &HostileUser::opens,           &HostileUser::leases,
      &HostileUser::locks,           &HostileUser::direct_io,
      &HostileUser::mappings,        &HostileUser::mappings,
      &HostileUser::sparse_touches,  &HostileUser::allocations,
      &HostileUser::names,           &HostileUser::deep_directories,
      &HostileUser::xattrs,          &HostileUser::polls,
      &HostileUser::children_killed, &HostileUser::connections,
      &HostileUser::copies};
  uint64_t count = 0;
  for (; std::chrono::steady_clock::now() < end; ++count) {
    ring_every(below(3) == 0 ? static_cast<suseconds_t>(200 + below(5'000)) : 0);
    (this->*any(attacks))();
  }
  ring_every(0);
  return count;
}

HostileUser::Taken HostileUser::take_everything() {
  Taken taken;
  while (true) {
    UniqueFd fd(open(any(field_.others).c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd) break;
    kept_.push_back(std::move(fd));
    ++taken.handles;
  }
  taken.why = strerrorname_np(errno);
  while (!kept_.empty()) {
    pmemd_mapping mapping = {0, 1, 0, 0};
    if (ioctl(any(kept_).get(), PMEMD_IOC_MAP, &mapping) == 0) {
      ++taken.claims;
    } else if (errno != ENOTTY) {  // a directory
      break;
    }
  }
  taken.why += fmt::format(" {}", strerrorname_np(errno));
  return taken;
}

uint64_t HostileUser::wild_number() {
  switch (below(6)) {
    case 0:
      return below(16) * 4096;
    case 1:
      return random_();
    case 2:
      return UINT64_MAX - below(8192);
    case 3:
      return INT64_MAX - below(8192);
    case 4:
      return below(1 << 20);
    default:
      return 0;
  }
}

std::string HostileUser::own_file() { return fmt::format("{}/f{}", field_.own, below(kOwnFiles)); }

std::string HostileUser::some_file() {
  const uint64_t dice = below(4);
  if (dice == 0) return any(field_.others);
  if (dice == 1) return any(field_.devices);
  return own_file();
}

UniqueFd HostileUser::open_some(int flags) {
  if (!kept_.empty() && flags == 0 && below(3) == 0) return UniqueFd(dup(any(kept_).get()));
  const std::string path = some_file();
  UniqueFd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK | flags, 0644));
  if (!fd) fd.reset(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | flags));
  return fd;
}

void HostileUser::keep(UniqueFd fd) {
  if (!fd) return;
  if (kept_.size() < kMaxKept) {
    kept_.push_back(std::move(fd));
  } else {
    kept_[below(kMaxKept)] = std::move(fd);
  }
}

void HostileUser::wild_ioctls() {
  UniqueFd fd = open_some();
  for (int i = 0; i < 32; ++i) {
    std::array<uint64_t, 32> words{};
    for (uint64_t& word : words) word = wild_number();
    unsigned long code = kIoctls[below(kIoctls.size())];
    if (below(8) == 0) code = _IOC(below(4), PMEMD_IOCTL_MAGIC, below(256), below(1 << 14));
    if (below(16) == 0) code = random_();
    // Those that end the process's own terminal, or wait for ever, aren't a file's.
    void* argument = words.data();
    if (below(16) == 0) argument = nullptr;
    if (below(16) == 0) argument = reinterpret_cast<void*>(random_());
    (void)ioctl(fd.get(), code, argument);
  }
  keep(std::move(fd));
}

void HostileUser::claims() {
  UniqueFd fd = open_some();
  const unsigned count = 1 + static_cast<unsigned>(below(below(16) == 0 ? 20'000 : 64));
  for (unsigned i = 0; i < count; ++i) {
    pmemd_pin pin = {below(4) * 4096, 1 + below(4096), 0};
    pmemd_mapping mapping = {pin.offset, pin.length, random_(), 0};
    pmemd_takeover takeover = {pin.offset, pin.length, 1 + static_cast<uint32_t>(below(100)), 0, 0};
    const uint64_t dice = below(3);
    const int result = dice == 0   ? ioctl(fd.get(), PMEMD_IOC_PIN, &pin)
                       : dice == 1 ? ioctl(fd.get(), PMEMD_IOC_MAP, &mapping)
                                   : ioctl(fd.get(), PMEMD_IOC_TAKEOVER, &takeover);
    if (result != 0 && errno == ENOMEM) break;
  }
  if (below(2) == 0) (void)ftruncate(fd.get(), static_cast<off_t>(below(kOwnBytes)));
  keep(std::move(fd));
}

void HostileUser::migrations() {
  UniqueFd fd(open(any(field_.devices).c_str(), O_RDWR | O_CLOEXEC));
  for (int i = 0; i < 16; ++i) {
    pmemd_migrate migrate = {below(64) * 4096, (1 + below(64)) * 4096, 0};
    (void)ioctl(fd.get(), PMEMD_IOC_MIGRATE, &migrate);
    pmemd_p2p_alloc alloc = {(1 + below(8)) * 4096, 0};
    if (ioctl(fd.get(), PMEMD_IOC_P2P_ALLOC, &alloc) == 0 && below(2) == 0) {
      (void)ioctl(fd.get(), PMEMD_IOC_P2P_FREE, &alloc.offset);
    }
    (void)pread(fd.get(), buffer_, 4096, static_cast<off_t>(migrate.offset));
  }
  if (below(2) == 0) keep(std::move(fd));
}

void HostileUser::opens() {
  std::vector<UniqueFd> fds;
  const uint64_t count = below(16) == 0 ? 3'000 : below(100);
  for (uint64_t i = 0; i < count; ++i) {
    fds.push_back(open_some(below(2) == 0 ? 0 : O_DIRECTORY));
    if (!fds.back()) fds.back().reset(open(field_.own.c_str(), O_TMPFILE | O_RDWR, 0600));
  }
  if (below(4) == 0) kept_.clear();
}

void HostileUser::leases() {
  const std::string path = own_file();
  UniqueFd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0644));
  (void)fcntl(fd.get(), F_SETLEASE, below(2) == 0 ? F_WRLCK : F_RDLCK);
  const UniqueFd other(open(path.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK));
  (void)fcntl(fd.get(), F_NOTIFY, DN_MODIFY);
  if (below(2) == 0) (void)fcntl(fd.get(), F_SETLEASE, F_UNLCK);
  keep(std::move(fd));
}

void HostileUser::locks() {
  UniqueFd fd = open_some();
  (void)flock(fd.get(), (below(2) == 0 ? LOCK_EX : LOCK_SH) | LOCK_NB);
  for (int i = 0; i < 16; ++i) {
    struct flock lock = {};
    lock.l_type = static_cast<short>(below(3));
    lock.l_start = static_cast<off_t>(wild_number());
    lock.l_len = static_cast<off_t>(wild_number());
    (void)fcntl(fd.get(), below(2) == 0 ? F_SETLK : F_OFD_SETLK, &lock);
  }
  keep(std::move(fd));
}

void HostileUser::direct_io() {
  const UniqueFd fd = open_some(O_DIRECT);
  for (int i = 0; i < 16; ++i) {
    const size_t skew = below(3) == 0 ? below(4096) : 0;
    const size_t length = below(2) == 0 ? 4096 * (1 + below(64)) : below(65'536);
    const auto offset = static_cast<off_t>(below(static_cast<uint64_t>(kOwnBytes)));
    const off_t at = below(2) == 0 ? offset & ~off_t{4095} : offset;
    if (below(2) == 0) {
      (void)!pread(fd.get(), buffer_ + skew, length, at);
    } else {
      (void)!pwrite(fd.get(), buffer_ + skew, length, at);
    }
  }
}

void HostileUser::mappings() {
  const UniqueFd fd = open_some();
  const size_t length = 4096 * (1 + below(256));
  const bool may_write = (fcntl(fd.get(), F_GETFL) & O_ACCMODE) == O_RDWR;
  const int protection = PROT_READ | (may_write ? PROT_WRITE : 0);
  const int kind = below(4) == 0 ? MAP_PRIVATE : MAP_SHARED;
  void* base = mmap(nullptr, length, protection, kind, fd.get(), 0);
  if (base == MAP_FAILED) return;
  static constexpr std::array kAdvice = {MADV_DONTNEED, MADV_PAGEOUT,       MADV_COLD,
                                         MADV_REMOVE,   MADV_POPULATE_READ, MADV_WILLNEED,
                                         MADV_RANDOM,   MADV_SEQUENTIAL,    MADV_DONTFORK};
  const Map map{static_cast<char*>(base), length};
  for (int i = 0; i < 24; ++i) {
    const size_t at = 4096 * below(length / 4096);
    switch (below(6)) {
      case 0:
        (void)madvise(map.base + at, length - at, kAdvice[below(kAdvice.size())]);
        break;
      case 1:
        (void)msync(map.base, length, below(2) == 0 ? MS_SYNC : MS_ASYNC);
        break;
      case 2:
        if (may_write) try_access(map, [&] { *word_at(map, at) = at; });
        break;
      case 3:
        (void)mlock2(map.base + at, 4096, MLOCK_ONFAULT);
        break;
      case 4:
        if (may_write) (void)ftruncate(fd.get(), static_cast<off_t>(below(kOwnBytes)));
        break;
      default:
        try_access(map, [&] { (void)*word_at(map, at); });
    }
  }
  void* moved = mremap(base, length, length + 4096 * below(16), MREMAP_MAYMOVE);
  munmap(moved == MAP_FAILED ? base : moved, length);
}

// A page here and a page there of a large file: each is a range of its own to the daemon.
void HostileUser::sparse_touches() {
  const UniqueFd fd(open((field_.own + "/sparse").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  (void)ftruncate(fd.get(), off_t{1} << 40);
  (void)posix_fadvise(fd.get(), 0, 0, POSIX_FADV_RANDOM);
  const off_t begin = static_cast<off_t>(below(1 << 20)) << 20;
  for (off_t i = 0; i < 500; ++i) (void)!pread(fd.get(), buffer_, 1, begin + i * 8192);
  if (below(8) == 0) (void)ftruncate(fd.get(), 0);
}

void HostileUser::allocations() {
  const UniqueFd fd = open_some();
  static constexpr std::array kModes = {0,
                                        FALLOC_FL_KEEP_SIZE,
                                        FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                        FALLOC_FL_ZERO_RANGE,
                                        FALLOC_FL_COLLAPSE_RANGE,
                                        FALLOC_FL_INSERT_RANGE,
                                        FALLOC_FL_UNSHARE_RANGE,
                                        ~0};
  for (int i = 0; i < 16; ++i) {
    const int mode = kModes[below(kModes.size())];
    const bool takes_space = (mode & FALLOC_FL_PUNCH_HOLE) == 0;
    (void)fallocate(fd.get(), mode,
                    static_cast<off_t>(takes_space ? below(kOwnBytes) : wild_number()),
                    static_cast<off_t>(takes_space ? below(65'536) : wild_number()));
    (void)lseek(fd.get(), static_cast<off_t>(wild_number()), static_cast<int>(below(6)));
    (void)ftruncate(fd.get(), static_cast<off_t>(below(3) == 0 ? wild_number() : below(kOwnBytes)));
    (void)sync_file_range(fd.get(), static_cast<off_t>(wild_number()),
                          static_cast<off_t>(wild_number()), static_cast<unsigned>(below(8)));
  }
  (void)ftruncate(fd.get(), static_cast<off_t>(below(kOwnBytes)));
}

void HostileUser::names() {
  for (int i = 0; i < 16; ++i) {
    const std::string name = field_.own + "/" + std::string(1 + below(300), 'n');
    const std::string other = below(3) == 0 ? any(field_.others) : own_file();
    switch (below(8)) {
      case 0:
        (void)link(other.c_str(), name.c_str());
        break;
      case 1:
        (void)symlink(std::string(1 + below(5000), 's').c_str(), name.c_str());
        break;
      case 2:
        (void)rename(name.c_str(), other.c_str());
        break;
      case 3:
        (void)renameat2(AT_FDCWD, name.c_str(), AT_FDCWD, own_file().c_str(),
                        static_cast<unsigned>(below(8)));
        break;
      case 4:
        (void)mkfifo(name.c_str(), 0666);
        break;
      case 5:
        (void)chmod(other.c_str(), static_cast<mode_t>(random_() & 07777));
        (void)chmod(own_file().c_str(), 0644);
        break;
      case 6:
        (void)chown(other.c_str(), static_cast<uid_t>(random_()), static_cast<gid_t>(random_()));
        break;
      default:
        (void)unlink(name.c_str());
    }
  }
}

void HostileUser::deep_directories() {
  UniqueFd at(open(field_.own.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const std::string name(255, static_cast<char>('a' + below(4)));
  for (uint64_t depth = below(40); at && depth != 0; --depth) {
    (void)mkdirat(at.get(), name.c_str(), 0755);
    at.reset(openat(at.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  }
  for (int i = 0; at && i < 40; ++i) {
    UniqueFd up(openat(at.get(), "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (up) (void)unlinkat(up.get(), name.c_str(), AT_REMOVEDIR);
    at = std::move(up);
  }
}

void HostileUser::xattrs() {
  const std::string path = some_file();
  for (int i = 0; i < 8; ++i) {
    const std::string name = fmt::format("user.{}", std::string(1 + below(260), 'x'));
    const size_t size = below(4) == 0 ? below(80'000) : below(300);
    (void)setxattr(path.c_str(), name.c_str(), buffer_, size, static_cast<int>(below(4)));
    (void)getxattr(path.c_str(), name.c_str(), buffer_, below(80'000));
    (void)listxattr(path.c_str(), buffer_, below(80'000));
    if (below(2) == 0) (void)removexattr(path.c_str(), name.c_str());
  }
  (void)setxattr(path.c_str(), "system.posix_acl_access", buffer_, below(200), 0);
  (void)setxattr(path.c_str(), "trusted.x", buffer_, below(200), 0);
}

void HostileUser::polls() {
  const UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
  std::vector<UniqueFd> fds;
  for (int i = 0; i < 32; ++i) {
    fds.push_back(open_some());
    epoll_event event = {.events = EPOLLPRI | (below(2) == 0 ? EPOLLET : 0U), .data = {}};
    (void)epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fds.back().get(), &event);
    pollfd one = {fds.back().get(), POLLPRI, 0};
    (void)poll(&one, 1, 0);
    if (below(3) == 0) fds.erase(fds.begin());  // while it is polled
  }
  std::array<epoll_event, 8> ready{};
  (void)epoll_wait(epoll.get(), ready.data(), static_cast<int>(ready.size()), 1);
}

// A child in the midst of requests, with claims, descriptors and mappings of ours, is killed.
void HostileUser::children_killed() {
  const pid_t child = fork();
  if (child < 0) return;
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    random_.seed(random_());
    for (int i = 0; i < 1000; ++i) {
      claims();
      mappings();
      direct_io();
    }
    _exit(0);
  }
  pollfd nothing = {-1, 0, 0};
  (void)poll(&nothing, 1, static_cast<int>(below(30)));
  kill(child, SIGKILL);
  while (waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
}

void HostileUser::connections() {
  std::vector<UniqueFd> fds;
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  field_.control.copy(address.sun_path, sizeof(address.sun_path) - 1);
  for (int i = 0; i < 32; ++i) {
    fds.emplace_back(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (connect(fds.back().get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) !=
        0) {
      continue;
    }
    (void)!write(fds.back().get(), buffer_, below(100'000));
  }
}

void HostileUser::copies() {
  const UniqueFd from = open_some();
  const UniqueFd to(open(own_file().c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0644));
  off_t in = static_cast<off_t>(below(65'536)), out = static_cast<off_t>(below(65'536));
  (void)copy_file_range(from.get(), &in, to.get(), &out, below(65'536), 0);
  (void)sendfile(to.get(), from.get(), &in, below(65'536));
  (void)ioctl(to.get(), FICLONE, from.get());
  alignas(fiemap) std::array<char, sizeof(fiemap) + 16 * sizeof(fiemap_extent)> map{};
  auto* request = new (map.data()) fiemap;
  request->fm_length = UINT64_MAX;
  request->fm_extent_count = 16;
  (void)ioctl(from.get(), FS_IOC_FIEMAP, request);
  struct statx st = {};
  (void)statx(from.get(), "", AT_EMPTY_PATH | static_cast<int>(below(3) << 13), ~0U, &st);
  const std::array times = {timespec{static_cast<time_t>(wild_number()), 0},
                            timespec{0, static_cast<long>(wild_number())}};
  (void)futimens(from.get(), times.data());
  (void)fsync(from.get());
}

}  // namespace pmemd
