// An ordinary program that maps files: no library of ours, nothing it would not do elsewhere.
//
// It obeys one command a line on stdin and answers each with one line on stdout: "ok ...",
// "error ENOENT", or, when a load or store was answered by a signal, "sigbus CODE OFFSET" with the
// signal's si_code and the faulting address as an offset in the mapping. Descriptors and mappings
// are numbered from 0, in the order in which they came.
//
//   open PATH ro|rw|direct     close FD          fsync FD        size FD N (ftruncate)
//   pin FD OFFSET LENGTH       "ok ID"           unpin FD ID      (client/pmemd_ioctl.h)
//   register FD OFFSET LENGTH MAP   "ok ID"      unregister FD ID
//   migrate FD OFFSET LENGTH   "ok PAGES"        (private)
//   alloc FD LENGTH            "ok OFFSET"       free FD OFFSET   (p2p)
//   random MAP                 (no read-ahead)
//   pread FD OFFSET            pwrite FD OFFSET VALUE            flock FD
//   aio FD OFFSET LENGTH LETTER   (an asynchronous write; answers when it is done)
//   map FD OFFSET LENGTH r|rw|w shared|private    unmap MAP       msync MAP       mlock MAP
//   store MAP OFFSET VALUE     load MAP OFFSET   (64-bit words)
//   fill MAP SEED              hash MAP          (the whole mapping)
//   pages MAP SEED             a letter a page: a: alive, with what fill has stored; w: alive, with
//                              other bytes; d: dead; m: some of it alive, some dead
//   present MAP                (how many of its pages are, by /proc/self/pagemap)
//   threads N MAP              N threads load and store their parts until something stops them; the
//                              answer comes when each has begun
//   join                       waits for them; tells what each one met
//   verify                     what they stored last is there
//   stop                       stops them and joins
//   reader FD                  a thread reads FD from 0 again and again, until an error
//   join_reader
//   checksum_loop MAP          a thread hashes MAP again and again; every hash must be the same
//   checksum_round             "ok" when it has gone round once more
//   stop_checksum_loop         "ok ROUNDS"
//   fork                       a child with the same mappings and descriptors;
//   child COMMAND              the child obeys it
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csetjmp>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "client/pmemd_ioctl.h"
#include "tests/integration/support/client_memory.h"

namespace pmemd {
namespace {

std::string error_answer() { return std::string("error ") + strerrorname_np(errno); }
std::string answer(bool good, const std::string& value = "") {
  if (!good) return error_answer();
  return value.empty() ? "ok" : "ok " + value;
}

class Commands {
 public:
  int serve(std::istream& in, int out) {
    for (std::string line; std::getline(in, line);) {
      const std::string reply = obey(line) + "\n";
      if (write(out, reply.data(), reply.size()) != static_cast<ssize_t>(reply.size())) return 1;
    }
    _exit(0);  // threads may still run
  }

 private:
  std::string obey(const std::string& line) {
    std::istringstream words(line);
    std::string verb;
    words >> verb;
    if (verb == "child") return tell_child(line.substr(verb.size() + 1));
    const auto command = commands_.find(verb);
    if (command == commands_.end()) return "error no such command: " + line;
    return command->second(words);
  }

  template <class T>
  static T next(std::istringstream& words) {
    T value{};
    words >> value;
    return value;
  }
  int fd(std::istringstream& words) const { return fds_.at(next<size_t>(words)); }
  const Map& map(std::istringstream& words) const { return maps_.at(next<size_t>(words)); }

  std::string open_file(std::istringstream& words) {
    const auto path = next<std::string>(words);
    const auto how = next<std::string>(words);
    const int fd = open(path.c_str(), how == "ro"       ? O_RDONLY
                                      : how == "direct" ? O_RDWR | O_DIRECT
                                                        : O_RDWR);
    if (fd < 0) return error_answer();
    fds_.push_back(fd);
    return answer(true, std::to_string(fds_.size() - 1));
  }

  std::string map_file(std::istringstream& words) {
    const int file = fd(words);
    const auto offset = next<off_t>(words);
    const auto length = next<size_t>(words);
    const auto access = next<std::string>(words);
    const int protection = (access.find('r') != std::string::npos ? PROT_READ : 0) |
                           (access.find('w') != std::string::npos ? PROT_WRITE : 0);
    const int flags = next<std::string>(words) == "private" ? MAP_PRIVATE : MAP_SHARED;
    void* base = mmap(nullptr, length, protection, flags, file, offset);
    if (base == MAP_FAILED) return error_answer();
    maps_.push_back({static_cast<char*>(base), length});
    return answer(true, std::to_string(maps_.size() - 1));
  }

  std::string store(std::istringstream& words) {
    const Map& target = map(words);
    const auto offset = next<uint64_t>(words);
    const auto value = next<uint64_t>(words);
    const auto fault = try_access(target, [&] { *word_at(target, offset) = value; });
    return fault.empty() ? "ok" : fault;
  }

  std::string load(std::istringstream& words) {
    const Map& target = map(words);
    const auto offset = next<uint64_t>(words);
    uint64_t value = 0;
    const auto fault = try_access(target, [&] { value = *word_at(target, offset); });
    return fault.empty() ? answer(true, std::to_string(value)) : fault;
  }

  std::string fill(std::istringstream& words) {
    const Map& target = map(words);
    const auto seed = next<uint64_t>(words);
    const auto fault = try_access(target, [&] {
      for (uint64_t at = 0; at < target.length; at += 8) *word_at(target, at) = mix(seed + at);
    });
    return fault.empty() ? "ok" : fault;
  }

  std::string hash(std::istringstream& words) {
    const Map& target = map(words);
    uint64_t value = 0;
    const auto fault = try_access(target, [&] { value = hash_words(target); });
    return fault.empty() ? answer(true, std::to_string(value)) : fault;
  }

  // A dead page is touched at both ends and in between: each touch is a READ that fails.
  std::string pages(std::istringstream& words) {
    const Map& target = map(words);
    const auto seed = next<uint64_t>(words);
    std::string letters;
    for (uint64_t page = 0; page < target.length; page += 4096) {
      bool right = true;
      const auto load_all = [&] {
        for (uint64_t at = page; at < page + 4096; at += 8) {
          right = right && *word_at(target, at) == mix(seed + at);
        }
      };
      if (try_access(target, load_all).empty()) {
        letters += right ? 'a' : 'w';
        continue;
      }
      int dead = 0;
      for (const uint64_t at : {page, page + 2048, page + 4088}) {
        const auto load_one = [&] { (void)*word_at(target, at); };
        if (!try_access(target, load_one).empty()) ++dead;
      }
      letters += dead == 3 ? 'd' : 'm';
    }
    return answer(true, letters);
  }

  std::string present(std::istringstream& words) {
    const Map& target = map(words);
    const int pagemap = open("/proc/self/pagemap", O_RDONLY);
    uint64_t pages = 0;
    for (size_t at = 0; at < target.length; at += 4096) {
      uint64_t entry = 0;
      const auto page = reinterpret_cast<uintptr_t>(target.base + at) / 4096;
      if (pread(pagemap, &entry, 8, static_cast<off_t>(page * 8)) != 8) return error_answer();
      pages += entry >> 63;
    }
    close(pagemap);
    return answer(true, std::to_string(pages));
  }

  std::string start_threads(std::istringstream& words) {
    const auto count = next<size_t>(words);
    const Map& target = map(words);
    workers_ = std::vector<Worker>(count);
    stopping_ = false;
    const size_t share = target.length / count / 4096 * 4096;
    for (size_t i = 0; i < count; ++i) {
      Worker& worker = workers_[i];
      worker.part = {target.base + i * share, share};
      for (size_t at = 0; at < worker.slots(); ++at) {
        const uint64_t found = *worker.slot(at);
        worker.stored.push_back(found);
      }
      worker.thread = std::thread([this, &worker] { worker.run(stopping_); });
    }
    for (const Worker& worker : workers_) {
      while (worker.stores == 0) std::this_thread::yield();
    }
    return "ok";
  }

  std::string join_threads() {
    std::ostringstream text;
    uint64_t stores = 0, wrong = 0;
    for (Worker& worker : workers_) {
      worker.thread.join();
      stores += worker.stores;
      wrong += worker.wrong_loads;
      // "sigbus 2 8192" → "sigbus 2": where it was is different each time.
      text << (worker.ended_by.empty() ? "stopped" : worker.ended_by.substr(0, 8)) << ",";
    }
    return "ok " + std::to_string(stores) + " wrong " + std::to_string(wrong) + " " + text.str();
  }

  std::string verify_threads() const {
    size_t wrong = 0;
    for (const Worker& worker : workers_) {
      const auto fault = try_access(worker.part, [&] { wrong += worker.wrong_slots(); });
      if (!fault.empty()) return fault;
    }
    return wrong == 0 ? "ok" : "error " + std::to_string(wrong) + " slots are wrong";
  }

  std::string start_reader(std::istringstream& words) {
    const int file = fd(words);
    reader_ = std::thread([this, file] {
      std::vector<char> buffer(1 << 20);
      while (pread(file, buffer.data(), buffer.size(), 0) >= 0) {
      }
      reader_error_ = errno;
    });
    return "ok";
  }

  std::string start_checksum_loop(std::istringstream& words) {
    const Map target = map(words);
    stopping_ = false;
    checker_ = std::thread([this, target] {
      checker_result_ = try_access(target, [&] {
        const uint64_t first = hash_words(target);
        for (; !stopping_; ++checker_rounds_) {
          if (hash_words(target) != first) ++checker_differences_;
        }
      });
      checker_ended_ = true;
    });
    return "ok";
  }

  // Answers when the loop has gone round once more.
  std::string checksum_round() const {
    const uint64_t before = checker_rounds_;
    while (checker_rounds_ == before && !checker_ended_) std::this_thread::yield();
    return checker_ended_ ? "error the loop has ended" : "ok";
  }

  std::string stop_checksum_loop() {
    stopping_ = true;
    checker_.join();
    if (!checker_result_.empty()) return checker_result_;
    if (checker_differences_ != 0) return "error the checksum changed";
    return answer(true, std::to_string(checker_rounds_));
  }

  std::string fork_child() {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) return error_answer();
    const pid_t pid = fork();
    if (pid < 0) return error_answer();
    if (pid == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (dup2(ends[1], 0) < 0 || dup2(ends[1], 1) < 0) _exit(1);
      close(ends[0]);
      close(ends[1]);
      std::cin.clear();
      std::cin.sync();
      serve(std::cin, 1);
    }
    close(ends[1]);
    child_ = fdopen(ends[0], "r+");
    return answer(true, std::to_string(pid));
  }

  std::string tell_child(const std::string& command) const {
    const std::string line = command + "\n";
    if (write(fileno(child_), line.data(), line.size()) < 0) return error_answer();
    std::string reply;
    for (int c = fgetc(child_); c != '\n'; c = fgetc(child_)) {
      if (c == EOF) return "error the child is gone";
      reply += static_cast<char>(c);
    }
    return reply;
  }

  std::string pread_word(std::istringstream& words) const {
    const int file = fd(words);
    uint64_t value = 0;
    const ssize_t got = pread(file, &value, sizeof(value), next<off_t>(words));
    return answer(got == sizeof(value), std::to_string(value));
  }
  std::string pwrite_word(std::istringstream& words) const {
    const int file = fd(words);
    const auto offset = next<off_t>(words);
    const auto value = next<uint64_t>(words);
    return answer(pwrite(file, &value, sizeof(value), offset) == sizeof(value));
  }
  // As libaio does it.
  std::string write_asynchronously(std::istringstream& words) const {
    iocb request{};
    request.aio_fildes = static_cast<uint32_t>(fd(words));
    request.aio_lio_opcode = IOCB_CMD_PWRITE;
    request.aio_offset = next<int64_t>(words);
    request.aio_nbytes = next<uint64_t>(words);
    const std::unique_ptr<void, void (*)(void*)> buffer(
        std::aligned_alloc(4096, request.aio_nbytes), std::free);
    std::memset(buffer.get(), next<char>(words), request.aio_nbytes);
    request.aio_buf = reinterpret_cast<uint64_t>(buffer.get());
    aio_context_t context = 0;
    iocb* list = &request;
    io_event event{};
    const bool ended = syscall(SYS_io_setup, 1, &context) == 0 &&
                       syscall(SYS_io_submit, context, 1, &list) == 1 &&
                       syscall(SYS_io_getevents, context, 1, 1, &event, nullptr) == 1;
    syscall(SYS_io_destroy, context);
    return answer(ended && event.res == static_cast<int64_t>(request.aio_nbytes));
  }
  std::string pin(std::istringstream& words) const {
    const int file = fd(words);
    pmemd_pin pin{};
    pin.offset = next<uint64_t>(words);
    pin.length = next<uint64_t>(words);
    const bool good = ioctl(file, PMEMD_IOC_PIN, &pin) == 0;
    return answer(good, std::to_string(pin.id));
  }
  std::string register_map(std::istringstream& words) const {
    const int file = fd(words);
    pmemd_mapping mapping{};
    mapping.offset = next<uint64_t>(words);
    mapping.length = next<uint64_t>(words);
    mapping.address = reinterpret_cast<uintptr_t>(map(words).base);
    const bool good = ioctl(file, PMEMD_IOC_MAP, &mapping) == 0;
    return answer(good, std::to_string(mapping.id));
  }
  std::string migrate(std::istringstream& words) const {
    const int file = fd(words);
    pmemd_migrate request{};
    request.offset = next<uint64_t>(words);
    request.length = next<uint64_t>(words);
    const bool good = ioctl(file, PMEMD_IOC_MIGRATE, &request) == 0;
    return answer(good, std::to_string(request.pages));
  }
  std::string alloc(std::istringstream& words) const {
    const int file = fd(words);
    pmemd_p2p_alloc request{};
    request.length = next<uint64_t>(words);
    const bool good = ioctl(file, PMEMD_IOC_P2P_ALLOC, &request) == 0;
    return answer(good, std::to_string(request.offset));
  }
  // "repeat 100 pin 0 0 4096" → "ok 17 error ENOMEM": how often it went well, and what came last.
  std::string repeat(std::istringstream& words) {
    const auto most = next<uint64_t>(words);
    std::string line;
    std::getline(words >> std::ws, line);
    std::string last;
    uint64_t done = 0;
    while (done < most && (last = obey(line)).starts_with("ok")) ++done;
    return answer(true, std::to_string(done) + " " + last);
  }
  std::string let_go(std::istringstream& words, unsigned long request) const {
    const int file = fd(words);
    auto id = next<uint64_t>(words);
    return answer(ioctl(file, request, &id) == 0);
  }
  std::string truncate(std::istringstream& words) const {
    const int file = fd(words);
    return answer(ftruncate(file, next<off_t>(words)) == 0);
  }
  template <class Call>
  std::string on_map(std::istringstream& words, const Call& call) const {
    const Map& target = map(words);
    return answer(call(target) == 0);
  }

  using Words = std::istringstream&;
  const std::map<std::string, std::function<std::string(Words)>> commands_{
      {"open", [this](Words w) { return open_file(w); }},
      {"close", [this](Words w) { return answer(close(fd(w)) == 0); }},
      {"fsync", [this](Words w) { return answer(fsync(fd(w)) == 0); }},
      {"size", [this](Words w) { return truncate(w); }},
      {"pin", [this](Words w) { return pin(w); }},
      {"unpin", [this](Words w) { return let_go(w, PMEMD_IOC_UNPIN); }},
      {"register", [this](Words w) { return register_map(w); }},
      {"migrate", [this](Words w) { return migrate(w); }},
      {"alloc", [this](Words w) { return alloc(w); }},
      {"repeat", [this](Words w) { return repeat(w); }},
      {"free", [this](Words w) { return let_go(w, PMEMD_IOC_P2P_FREE); }},
      {"random",
       [this](Words w) {
         return on_map(w, [](Map m) { return madvise(m.base, m.length, MADV_RANDOM); });
       }},
      {"unregister", [this](Words w) { return let_go(w, PMEMD_IOC_UNMAP); }},
      {"pread", [this](Words w) { return pread_word(w); }},
      {"pwrite", [this](Words w) { return pwrite_word(w); }},
      {"aio", [this](Words w) { return write_asynchronously(w); }},
      {"flock", [this](Words w) { return answer(flock(fd(w), LOCK_EX | LOCK_NB) == 0); }},
      {"map", [this](Words w) { return map_file(w); }},
      {"unmap",
       [this](Words w) { return on_map(w, [](Map m) { return munmap(m.base, m.length); }); }},
      {"msync",
       [this](Words w) {
         return on_map(w, [](Map m) { return msync(m.base, m.length, MS_SYNC); });
       }},
      {"mlock",
       [this](Words w) { return on_map(w, [](Map m) { return mlock(m.base, m.length); }); }},
      {"store", [this](Words w) { return store(w); }},
      {"load", [this](Words w) { return load(w); }},
      {"fill", [this](Words w) { return fill(w); }},
      {"hash", [this](Words w) { return hash(w); }},
      {"pages", [this](Words w) { return pages(w); }},
      {"present", [this](Words w) { return present(w); }},
      {"threads", [this](Words w) { return start_threads(w); }},
      {"join", [this](Words) { return join_threads(); }},
      {"verify", [this](Words) { return verify_threads(); }},
      {"stop",
       [this](Words) {
         stopping_ = true;
         return join_threads();
       }},
      {"reader", [this](Words w) { return start_reader(w); }},
      {"join_reader",
       [this](Words) {
         reader_.join();
         return answer(true, strerrorname_np(reader_error_));
       }},
      {"checksum_loop", [this](Words w) { return start_checksum_loop(w); }},
      {"checksum_round", [this](Words) { return checksum_round(); }},
      {"stop_checksum_loop", [this](Words) { return stop_checksum_loop(); }},
      {"fork", [this](Words) { return fork_child(); }},
  };

  std::vector<int> fds_;
  std::vector<Map> maps_;
  std::atomic<bool> stopping_ = false;
  std::vector<Worker> workers_;
  std::thread reader_;
  int reader_error_ = 0;
  std::thread checker_;
  std::string checker_result_;
  std::atomic<uint64_t> checker_rounds_ = 0;
  uint64_t checker_differences_ = 0;
  std::atomic<bool> checker_ended_ = false;
  FILE* child_ = nullptr;
};

}  // namespace
}  // namespace pmemd

int main() {
  struct sigaction action = {};
  action.sa_sigaction = pmemd::on_sigbus;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGBUS, &action, nullptr);
  return pmemd::Commands().serve(std::cin, 1);
}
