// Runs a function in a thread of its own in which one system call fails: what a bad disk does.
#pragma once

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <thread>

namespace pmemd {

// A call that fails only when its argument `index` has one of `bits`.
struct WhenArgument {
  unsigned index = 0;
  uint32_t bits = 0;  // 0: always
};

// `call` is a SYS_ number. False: the machine doesn't let us; nothing was run.
inline bool run_with_failing_call(int call, int err, const std::function<void()>& run,
                                  WhenArgument when = {}) {
  bool possible = false;
  std::thread thread([&] {
    const auto low_word =
        static_cast<unsigned>(offsetof(seccomp_data, args) + when.index * sizeof(uint64_t));
    std::array<sock_filter, 6> filter = {{
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(call), 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, low_word),
        BPF_JUMP(BPF_JMP | (when.bits == 0 ? BPF_JGE : BPF_JSET) | BPF_K, when.bits, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<unsigned>(err)),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    }};
    const sock_fprog program = {.len = filter.size(), .filter = filter.data()};
    possible = ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
               ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
    if (possible) run();
  });
  thread.join();
  return possible;
}

}  // namespace pmemd
