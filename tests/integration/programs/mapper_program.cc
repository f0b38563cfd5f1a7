// A program that registers its mappings and reads what happens to them, with nothing but the header
// (client/pmemd_ioctl.h), ioctl, poll and epoll.
//
// It obeys one command a line on stdin and answers each with one line on stdout: "ok ...", or
// "error EAGAIN". Files are numbered from 0; each is mapped as a whole, shared.
//
//   open PATH ro|rw           "ok N"
//   register N OFFSET LENGTH  "ok ID"           unregister N ID
//   takeover N OFFSET LENGTH TIMEOUT_MS "ok ID"  end N ID
//   ready N                   what poll(2) says now: "ok", and " pri", " in", " out", " err" of it
//   wait N                    waits for POLLPRI, then as read
//   read N                    "ok KIND SEQ ID OFFSET LENGTH AT MISSED FLAGS TIMEOUT_MS"; AT: the
//                             event's address, as an offset in the mapping
//   answer N SEQ ID VALUE
//   query N OFFSET LENGTH     "ok OFFSET LENGTH"
//   info N                    "ok VERSION FLAGS UNIT"
//   touch N OFFSET            reads a byte
//   write N OFFSET LENGTH     as a program that saves what it knows
//   close N                   (and its mapping)
//   subscribe PATH COUNT SILENT  COUNT more descriptors, a page of each mapped and registered;
//                             nobody reads SILENT of them
//   follow EVENTS             reads the others (by epoll, every second one edge-triggered), until
//                             each has had so many more; "ok", if each had what it should have
//   churn PATH ROUNDS         so often: opens, maps, registers, polls, reads if there is something,
//                             closes (what fails, fails); "ok TIMES" that it was registered
//   drain                     reads the silent ones: "ok MISSED READ" of all of them together
//
// With --contained it does so as nobody, in a mount and a pid namespace of its own.
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <functional>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "client/pmemd_ioctl.h"

namespace {

constexpr size_t kPage = 4096;

struct File {
  int fd = -1;
  char* base = nullptr;
  size_t length = 0;
};

struct Subscriber {
  File file;
  uint64_t id = 0;
  bool is_silent = false;
  bool is_edge_triggered = false;
  uint64_t events = 0;
  uint64_t last_seq = 0;
};

std::string error_answer() { return std::string("error ") + strerrorname_np(errno); }
std::string answer(bool good, const std::string& value = "") {
  if (!good) return error_answer();
  return value.empty() ? "ok" : "ok " + value;
}
uint64_t address_of(const File& file) { return reinterpret_cast<uintptr_t>(file.base); }

bool map_whole(File& file, size_t length, bool writable) {
  file.length = length;
  void* base =
      mmap(nullptr, length, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, file.fd, 0);
  if (base == MAP_FAILED) return false;
  file.base = static_cast<char*>(base);
  return true;
}

class Mapper {
 public:
  int serve() {
    for (std::string line; std::getline(std::cin, line);) {
      std::istringstream words(line);
      std::string verb;
      words >> verb;
      const auto command = commands_.find(verb);
      std::cout << (command == commands_.end() ? "error no such command" : command->second(words))
                << '\n'
                << std::flush;
    }
    return 0;
  }

 private:
  using Words = std::istringstream&;

  template <class T = uint64_t>
  static T next(Words words) {
    T value{};
    words >> value;
    return value;
  }
  File& file(Words words) { return files_.at(next<size_t>(words)); }

  std::string open_file(Words words) {
    const auto path = next<std::string>(words);
    const bool writable = next<std::string>(words) == "rw";
    File file{.fd = open(path.c_str(), (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC)};
    struct stat st = {};
    if (file.fd < 0 || fstat(file.fd, &st) != 0) return error_answer();
    if (!map_whole(file, static_cast<size_t>(st.st_size), writable)) return error_answer();
    files_.push_back(file);
    return answer(true, std::to_string(files_.size() - 1));
  }

  std::string register_part(Words words) {
    const File& target = file(words);
    pmemd_mapping mapping = {};
    mapping.offset = next(words);
    mapping.length = next(words);
    mapping.address = address_of(target) + mapping.offset;
    const bool good = ioctl(target.fd, PMEMD_IOC_MAP, &mapping) == 0;
    return answer(good, std::to_string(mapping.id));
  }
  std::string take_over(Words words) {
    const File& target = file(words);
    pmemd_takeover takeover = {};
    takeover.offset = next(words);
    takeover.length = next(words);
    takeover.timeout_ms = next<uint32_t>(words);
    const bool good = ioctl(target.fd, PMEMD_IOC_TAKEOVER, &takeover) == 0;
    return answer(good, std::to_string(takeover.id));
  }
  std::string end(Words words, unsigned long request) {
    const File& target = file(words);
    auto id = next(words);
    return answer(ioctl(target.fd, request, &id) == 0);
  }

  std::string ready(Words words) {
    pollfd poll_fd{.fd = file(words).fd, .events = POLLPRI | POLLIN | POLLOUT, .revents = 0};
    if (poll(&poll_fd, 1, 0) < 0) return error_answer();
    std::string found = "ok";
    for (const auto& [bit, name] : {std::pair(POLLPRI, " pri"), std::pair(POLLIN, " in"),
                                    std::pair(POLLOUT, " out"), std::pair(POLLERR, " err")}) {
      if ((poll_fd.revents & bit) != 0) found += name;
    }
    return found;
  }
  std::string wait_and_read(Words words) {
    const File& target = file(words);
    pollfd poll_fd{.fd = target.fd, .events = POLLPRI, .revents = 0};
    while ((poll_fd.revents & POLLPRI) == 0) {
      if (poll(&poll_fd, 1, -1) < 0) return error_answer();
      if ((poll_fd.revents & POLLERR) != 0) return "error the mount is gone";
    }
    return read_event(target);
  }
  static std::string read_event(const File& target) {
    pmemd_event event = {};
    if (ioctl(target.fd, PMEMD_IOC_READ_EVENT, &event) != 0) return error_answer();
    std::ostringstream text;
    text << "ok " << event.kind << ' ' << event.seq << ' ' << event.id << ' ' << event.offset << ' '
         << event.length << ' ' << (event.address == 0 ? 0 : event.address - address_of(target))
         << ' ' << event.missed << ' ' << event.flags << ' ' << event.timeout_ms;
    return text.str();
  }
  std::string give_answer(Words words) {
    const File& target = file(words);
    pmemd_answer given = {};
    given.seq = next(words);
    given.id = next(words);
    given.answer = next<uint32_t>(words);
    return answer(ioctl(target.fd, PMEMD_IOC_ANSWER, &given) == 0);
  }
  std::string query(Words words) {
    const File& target = file(words);
    pmemd_query asked = {};
    asked.offset = next(words);
    asked.length = next(words);
    const bool good = ioctl(target.fd, PMEMD_IOC_QUERY, &asked) == 0;
    return answer(good, std::to_string(asked.offset) + " " + std::to_string(asked.length));
  }
  std::string info(Words words) {
    pmemd_info told = {};
    const bool good = ioctl(file(words).fd, PMEMD_IOC_INFO, &told) == 0;
    return answer(good, std::to_string(told.version) + " " + std::to_string(told.flags) + " " +
                            std::to_string(told.clear_unit));
  }
  std::string touch(Words words) {
    const int fd = file(words).fd;
    char byte = 0;
    return answer(pread(fd, &byte, 1, static_cast<off_t>(next(words))) == 1);
  }
  std::string write(Words words) {
    const int fd = file(words).fd;
    const auto offset = static_cast<off_t>(next(words));
    const std::string bytes(next(words), 'y');
    const ssize_t put = pwrite(fd, bytes.data(), bytes.size(), offset);
    return answer(put == static_cast<ssize_t>(bytes.size()));
  }
  std::string close_file(Words words) {
    const File& target = file(words);
    return answer(munmap(target.base, target.length) == 0 && close(target.fd) == 0);
  }

  // --- many of them

  std::string subscribe(Words words) {
    const auto path = next<std::string>(words);
    const auto count = next(words);
    const auto silent = next(words);
    epoll_ = epoll_create1(EPOLL_CLOEXEC);
    subscribers_.resize(count);
    for (uint64_t i = 0; i < count; ++i) {
      Subscriber& subscriber = subscribers_[i];
      subscriber.is_silent = i < silent;
      subscriber.is_edge_triggered = i % 2 == 0;
      subscriber.file.fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
      if (subscriber.file.fd < 0 || !map_whole(subscriber.file, kPage, false)) {
        return error_answer();
      }
      pmemd_mapping mapping = {};
      mapping.length = kPage;
      mapping.address = address_of(subscriber.file);
      if (ioctl(subscriber.file.fd, PMEMD_IOC_MAP, &mapping) != 0) return error_answer();
      subscriber.id = mapping.id;
      if (subscriber.is_silent) continue;
      epoll_event event{.events = EPOLLPRI, .data = {.u64 = i}};
      if (subscriber.is_edge_triggered) event.events |= EPOLLET;
      if (epoll_ctl(epoll_, EPOLL_CTL_ADD, subscriber.file.fd, &event) != 0) return error_answer();
    }
    return "ok";
  }

  // "" when the event is the next in the round pre-remove, removed, enabled, and for this one.
  static std::string wrong_with(Subscriber& subscriber, const pmemd_event& event) {
    constexpr std::array kRound = {PMEMD_EVENT_PRE_REMOVE, PMEMD_EVENT_REMOVED,
                                   PMEMD_EVENT_ENABLED};
    const uint32_t expected = kRound.at(subscriber.events % kRound.size());
    const bool good = event.kind == expected && event.id == subscriber.id && event.offset == 0 &&
                      event.length == kPage && event.address == address_of(subscriber.file) &&
                      event.missed == 0 && event.seq > subscriber.last_seq;
    subscriber.last_seq = event.seq;
    ++subscriber.events;
    if (good) return "";
    return "error event " + std::to_string(subscriber.events) + " is of kind " +
           std::to_string(event.kind) + ", missed " + std::to_string(event.missed);
  }

  std::string follow(Words words) {
    const uint64_t wanted = next(words);
    uint64_t left = 0;
    for (const Subscriber& subscriber : subscribers_) left += subscriber.is_silent ? 0 : wanted;
    std::array<epoll_event, 64> ready{};
    while (left > 0) {
      const int count = epoll_wait(epoll_, ready.data(), static_cast<int>(ready.size()), -1);
      if (count < 0) return error_answer();
      for (int i = 0; i < count; ++i) {
        const epoll_event& one = ready.at(static_cast<size_t>(i));
        Subscriber& subscriber = subscribers_.at(one.data.u64);
        if ((one.events & EPOLLPRI) == 0) return "error woken for nothing";
        pmemd_event event = {};
        while (ioctl(subscriber.file.fd, PMEMD_IOC_READ_EVENT, &event) == 0) {
          if (std::string wrong = wrong_with(subscriber, event); !wrong.empty()) return wrong;
          if (left-- == 0) return "error more events than there should be";
          if (!subscriber.is_edge_triggered) break;  // told again as long as there are some
        }
      }
    }
    return "ok";
  }

  static std::string churn(Words words) {
    const auto path = next<std::string>(words);
    const auto rounds = next(words);
    uint64_t registered = 0;
    for (uint64_t i = 0; i < rounds; ++i) {
      File file{.fd = open(path.c_str(), O_RDONLY | O_CLOEXEC)};
      if (file.fd < 0) continue;
      pmemd_mapping mapping = {};
      mapping.length = kPage;
      if (ioctl(file.fd, PMEMD_IOC_MAP, &mapping) == 0) ++registered;
      pollfd poll_fd{.fd = file.fd, .events = POLLPRI, .revents = 0};
      pmemd_event event = {};
      if (poll(&poll_fd, 1, i % 3 == 0 ? 1 : 0) > 0) {
        if (ioctl(file.fd, PMEMD_IOC_READ_EVENT, &event) != 0) return error_answer();
      }
      close(file.fd);
    }
    return answer(true, std::to_string(registered));
  }

  std::string drain() {
    uint64_t missed = 0;
    uint64_t read = 0;
    for (Subscriber& subscriber : subscribers_) {
      if (!subscriber.is_silent) continue;
      pmemd_event event = {};
      for (; ioctl(subscriber.file.fd, PMEMD_IOC_READ_EVENT, &event) == 0; ++read) {
        missed += event.missed;
      }
    }
    return answer(true, std::to_string(missed) + " " + std::to_string(read));
  }

  const std::map<std::string, std::function<std::string(Words)>> commands_{
      {"open", [this](Words w) { return open_file(w); }},
      {"register", [this](Words w) { return register_part(w); }},
      {"unregister", [this](Words w) { return end(w, PMEMD_IOC_UNMAP); }},
      {"takeover", [this](Words w) { return take_over(w); }},
      {"end", [this](Words w) { return end(w, PMEMD_IOC_END_TAKEOVER); }},
      {"ready", [this](Words w) { return ready(w); }},
      {"wait", [this](Words w) { return wait_and_read(w); }},
      {"read", [this](Words w) { return read_event(file(w)); }},
      {"answer", [this](Words w) { return give_answer(w); }},
      {"query", [this](Words w) { return query(w); }},
      {"info", [this](Words w) { return info(w); }},
      {"touch", [this](Words w) { return touch(w); }},
      {"write", [this](Words w) { return write(w); }},
      {"close", [this](Words w) { return close_file(w); }},
      {"subscribe", [this](Words w) { return subscribe(w); }},
      {"follow", [this](Words w) { return follow(w); }},
      {"churn", [](Words w) { return churn(w); }},
      {"drain", [this](Words) { return drain(); }},
      {"whoami",
       [](Words) {
         return answer(true, std::to_string(getpid()) + " " + std::to_string(geteuid()));
       }},
  };

  std::vector<File> files_;
  std::vector<Subscriber> subscribers_;
  int epoll_ = -1;
};

// The child goes on, as the first process of its pid namespace; the parent waits for it.
void contain() {
  constexpr uid_t kNobody = 65534;
  if (unshare(CLONE_NEWNS | CLONE_NEWPID) != 0) std::exit(125);
  const pid_t child = fork();
  if (child < 0) std::exit(125);
  if (child > 0) {
    int status = 0;
    waitpid(child, &status, 0);
    std::exit(WIFEXITED(status) ? WEXITSTATUS(status) : 124);
  }
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      mount("proc", "/proc", "proc", 0, nullptr) != 0 ||
      setresgid(kNobody, kNobody, kNobody) != 0 || setresuid(kNobody, kNobody, kNobody) != 0) {
    std::exit(123);
  }
  prctl(PR_SET_PDEATHSIG, SIGKILL);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], "--contained") == 0) contain();
  return Mapper().serve();
}
