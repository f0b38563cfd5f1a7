#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <string>
#include <thread>
#include <vector>

#include "client/keeper/client_internal.h"
#include "client/pmemd_client.h"
#include "client/pmemd_client.hpp"
#include "tests/unit/client/failing_memory.h"

namespace pmemd::test {
namespace {

struct Copied {
  int result;
  size_t done;
  bool operator==(const Copied&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Copied& copied) {
  return out << copied.result << " after " << copied.done;
}

// Each way to copy must behave the same.
using Copy = Copied (*)(void*, const void*, size_t);
Copied read_copy(void* to, const void* from, size_t n) {
  size_t done = 99;
  const int result = pmemd_read_guarded(to, from, n, &done);
  return {result, done};
}
Copied write_copy(void* to, const void* from, size_t n) {
  size_t done = 99;
  const int result = pmemd_write_guarded(to, from, n, &done);
  return {result, done};
}
Copied pipe_copy(void* to, const void* from, size_t n) {
  size_t done = 0;
  const int result = guarded_copy_by_pipe(to, from, n, &done);
  return {result, done};
}

class Guarded : public ::testing::TestWithParam<Copy> {};
std::string name_of(const ::testing::TestParamInfo<Copy>& way) {
  return way.param == read_copy ? "Read" : way.param == write_copy ? "Write" : "Pipe";
}
INSTANTIATE_TEST_SUITE_P(Ways, Guarded, ::testing::Values(read_copy, write_copy, pipe_copy),
                         name_of);

TEST_P(Guarded, CopiesWhatIsGood) {
  const FailingMemory memory(4, 0);
  std::string text(3 * kPage + 17, 'b');
  EXPECT_EQ(GetParam()(memory.base() + 5, text.data(), text.size()), (Copied{0, text.size()}));
  EXPECT_EQ(std::string(memory.base() + 5, text.size()), text);
  EXPECT_EQ(memory.base()[4], 'a');
  EXPECT_EQ(memory.base()[5 + text.size()], 'a');
  EXPECT_EQ(GetParam()(text.data(), memory.base(), 0), (Copied{0, 0}));
}

TEST_P(Guarded, StopsBeforeThePageThatFailsOnEitherSide) {
  const FailingMemory memory(2, 2);
  std::vector<char> buffer(4 * kPage, 'c');
  EXPECT_EQ(GetParam()(buffer.data(), memory.base() + 100, 3 * kPage),
            (Copied{-EFAULT, 2 * kPage - 100}));
  EXPECT_EQ(buffer[2 * kPage - 101], 'a');
  EXPECT_EQ(buffer[2 * kPage - 100], 'c');
  EXPECT_EQ(GetParam()(memory.base() + 100, buffer.data(), 3 * kPage),
            (Copied{-EFAULT, 2 * kPage - 100}));
  EXPECT_EQ(GetParam()(buffer.data(), memory.page(2), 1), (Copied{-EFAULT, 0}));
  EXPECT_EQ(GetParam()(memory.page(3) + 7, buffer.data(), 8), (Copied{-EFAULT, 0}));
}

TEST_P(Guarded, WorksAgainWhenTheMemoryIsBack) {
  const FailingMemory memory(0, 1);
  char byte = 'x';
  EXPECT_EQ(GetParam()(&byte, memory.base(), 1), (Copied{-EFAULT, 0}));
  memory.set_good(1);
  EXPECT_EQ(GetParam()(&byte, memory.base(), 1), (Copied{0, 1}));
  EXPECT_EQ(byte, '\0');
}

TEST_P(Guarded, WhatIsNotMappedOrNotWritableIsEfault) {
  char byte = 'x';
  EXPECT_EQ(GetParam()(&byte, nullptr, 1), (Copied{-EFAULT, 0}));
  void* const readable = ::mmap(nullptr, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  EXPECT_EQ(GetParam()(readable, &byte, 1), (Copied{-EFAULT, 0}));
  EXPECT_EQ(GetParam()(&byte, readable, 1), (Copied{0, 1}));
  ::munmap(readable, kPage);
}

TEST_P(Guarded, KeepsErrnoAndInstallsNoHandler) {
  const FailingMemory memory(0, 1);
  struct sigaction before = {};
  struct sigaction after = {};
  sigaction(SIGBUS, nullptr, &before);
  char byte = 'x';
  errno = ENOTEMPTY;
  GetParam()(&byte, memory.base(), 1);
  EXPECT_TRUE(errno == ENOTEMPTY || GetParam() == pipe_copy);
  sigaction(SIGBUS, nullptr, &after);
  EXPECT_EQ(before.sa_handler, after.sa_handler);
}

TEST(GuardedTest, DoneMayBeNull) {
  char from = 'f';
  char to = 't';
  EXPECT_EQ(pmemd_read_guarded(&to, &from, 1, nullptr), 0);
  EXPECT_EQ(pmemd_write_guarded(&to, &from, 1, nullptr), 0);
  EXPECT_EQ(to, 'f');
}

TEST(GuardedTest, FromManyThreadsAtOnce) {
  const FailingMemory memory(1, 1);
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&memory] {
      std::vector<char> buffer(2 * kPage);
      for (int round = 0; round < 200; ++round) {
        const Copied copied = read_copy(buffer.data(), memory.base(), buffer.size());
        EXPECT_EQ(copied, (Copied{-EFAULT, kPage}));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(GuardedTest, ThePipeWithoutDescriptorsIsEmfile) {
  rlimit before = {};
  getrlimit(RLIMIT_NOFILE, &before);
  const rlimit none = {0, before.rlim_max};
  setrlimit(RLIMIT_NOFILE, &none);
  char from = 'f';
  char to = 't';
  const Copied copied = pipe_copy(&to, &from, 1);
  setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_EQ(copied, (Copied{-EMFILE, 0}));
}

// What container run times once did to these calls.
void refuse_process_vm_calls(unsigned err) {
  std::array<sock_filter, 6> code = {
      sock_filter{BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(seccomp_data, nr)},
      sock_filter{BPF_JMP | BPF_JEQ | BPF_K, 2, 0, SYS_process_vm_readv},
      sock_filter{BPF_JMP | BPF_JEQ | BPF_K, 1, 0, SYS_process_vm_writev},
      sock_filter{BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW},
      sock_filter{BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | err}};
  const sock_fprog program = {5, code.data()};
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) _exit(2);
}

TEST(GuardedTest, FallsBackWhereAFilterRefusesTheCalls) {
  for (const unsigned err : {EPERM, ENOSYS}) {
    const FailingMemory memory(1, 1);
    const pid_t child = fork();
    if (child == 0) {
      refuse_process_vm_calls(err);
      std::vector<char> buffer(2 * kPage, 'b');
      const bool read =
          read_copy(buffer.data(), memory.base(), 2 * kPage) == Copied{-EFAULT, kPage};
      const bool write =
          write_copy(memory.base(), buffer.data() + kPage, kPage) == Copied{0, kPage};
      _exit(read && buffer[0] == 'a' && write && memory.base()[0] == 'b' ? 0 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
}

TEST(GuardedTest, TheCxxFunctionsTellTheErrnoAndTheBytes) {
  const FailingMemory memory(1, 1);
  std::vector<char> buffer(2 * kPage);
  const auto read = client::read_guarded(buffer.data(), memory.base(), buffer.size());
  EXPECT_EQ(read.error, EFAULT);
  EXPECT_EQ(read.bytes, kPage);
  const auto write = client::write_guarded(memory.base(), buffer.data(), kPage);
  EXPECT_EQ(write.error, 0);
  EXPECT_EQ(write.bytes, kPage);
}

}  // namespace
}  // namespace pmemd::test
