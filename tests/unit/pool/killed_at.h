// Runs a function in a child process that is killed just before its n-th system call that changes
// files: at every point at which a kill can leave something different behind.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace pmemd {

struct Traced {
  bool possible = true;  // false: this process may not trace
  bool killed = false;   // else it has run to its end
  int exit_code = -1;
  std::vector<std::string> calls;  // of `run`, up to the kill
};

// Null: changes nothing.
inline const char* changing_call(const __ptrace_syscall_info& info) {
  switch (info.entry.nr) {
    case SYS_openat:
      return (info.entry.args[2] & O_CREAT) != 0 ? "create" : nullptr;
    case SYS_write:
    case SYS_pwrite64:
      return "write";
    case SYS_ftruncate:
      return "truncate";
    case SYS_fallocate:
      return "fallocate";
    case SYS_msync:
      return "msync";
    case SYS_fsync:
      return "fsync";
    case SYS_fdatasync:
      return "fdatasync";
    case SYS_rename:
      return "rename";
    case SYS_unlink:
    case SYS_unlinkat:
      return "unlink";
    case SYS_mkdir:
      return "mkdir";
    case SYS_rmdir:
      return "rmdir";
    default:
      return nullptr;
  }
}

// A call that fails: between `prepare` and `run`.
inline void mark() { ::mkdir("", 0); }

// kill_at counts the calls of `run` from 0; a number too large: never. The exit code is that of
// what fails first. What they leave in memory is in the child only.
inline Traced run_killed_at(size_t kill_at, const std::function<int()>& prepare,
                            const std::function<int()>& run) {
  Traced traced;
  const pid_t child = ::fork();
  if (child == 0) {
    if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) ::_exit(255);
    ::raise(SIGSTOP);
    const int prepared = prepare();
    mark();
    ::_exit(prepared != 0 ? prepared : run());
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  if (!WIFSTOPPED(status)) {
    traced.possible = false;
    return traced;
  }
  ::ptrace(PTRACE_SETOPTIONS, child, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
  int signo = 0;
  bool marked = false;
  for (;;) {
    ::ptrace(PTRACE_SYSCALL, child, nullptr, signo);
    ::waitpid(child, &status, 0);
    if (!WIFSTOPPED(status)) break;
    signo = WSTOPSIG(status);
    if (signo != (SIGTRAP | 0x80)) continue;
    signo = 0;
    __ptrace_syscall_info info = {};
    ::ptrace(PTRACE_GET_SYSCALL_INFO, child, sizeof info, &info);
    if (info.op != PTRACE_SYSCALL_INFO_ENTRY) continue;
    const char* const call = changing_call(info);
    if (call == nullptr) continue;
    if (!marked) {
      marked = std::string_view(call) == "mkdir";
    } else if (traced.calls.size() == kill_at) {
      ::kill(child, SIGKILL);
    } else {
      traced.calls.emplace_back(call);
    }
  }
  traced.killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  if (WIFEXITED(status)) traced.exit_code = WEXITSTATUS(status);
  return traced;
}

}  // namespace pmemd
