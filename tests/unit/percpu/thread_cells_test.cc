#include "core/percpu/thread_cells.h"

#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <latch>
#include <set>
#include <thread>
#include <vector>

#include "core/percpu/percpu_ref.h"

namespace pmemd {
namespace {

constexpr size_t kLine = 64;

size_t line_of(const CountCell* cell) { return reinterpret_cast<size_t>(cell) / kLine; }

TEST(ThreadCells, ThreadsShareNoLineAndColumnsOfAThreadDo) {
  constexpr int kThreads = 8;
  std::vector<ThreadCells::Column> columns;
  for (int i = 0; i < 8; ++i) columns.push_back(ThreadCells::take_column());
  std::array<std::set<size_t>, kThreads> lines;
  {
    std::latch all_have(kThreads);
    std::vector<std::jthread> threads;
    for (auto& mine : lines) {
      threads.emplace_back([&] {
        for (const auto column : columns) mine.insert(line_of(ThreadCells::mine(column)));
        all_have.arrive_and_wait();
      });
    }
  }
  std::set<size_t> all;
  for (const auto& mine : lines) {
    EXPECT_LE(mine.size(), 8 * sizeof(CountCell) / kLine + 1) << "side by side";
    for (const size_t line : mine) EXPECT_TRUE(all.insert(line).second);
  }
  for (const auto column : columns) ThreadCells::give_back_column(column);
}

TEST(ThreadCells, ARowGoesToTheNextThreadWithItsSums) {
  const auto column = ThreadCells::take_column();
  const auto sum = [column] {
    uint64_t gets = 0;
    ThreadCells::for_each(column, [&](const CountCell& cell) { gets += cell.gets; });
    return gets;
  };
  const uint64_t before = sum();
  CountCell* first = nullptr;
  CountCell* second = nullptr;
  std::jthread([&] { (first = ThreadCells::mine(column))->gets += 6; }).join();
  std::jthread([&] { (second = ThreadCells::mine(column))->gets += 2; }).join();
  EXPECT_EQ(first, second);
  EXPECT_EQ(sum(), before + 8);
  ThreadCells::give_back_column(column);
}

TEST(ThreadCells, AColumnHasOneUserAtATime) {
  const auto a = ThreadCells::take_column();
  const auto b = ThreadCells::take_column();
  EXPECT_NE(a, b);
  EXPECT_NE(a, ThreadCells::kNoColumn);
  ThreadCells::give_back_column(a);
  EXPECT_EQ(ThreadCells::take_column(), a);
  ThreadCells::give_back_column(a);
  ThreadCells::give_back_column(b);
  ThreadCells::give_back_column(ThreadCells::kNoColumn);
}

// What a service's SystemCallFilter= may do.
bool refuse_membarrier() {
  std::array<sock_filter, 4> filter = {{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  }};
  const sock_fprog program = {filter.size(), filter.data()};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

// Exit code 0: as it should be.
int live_without_membarrier() {
  if (ThreadCells::take_column() != ThreadCells::kNoColumn) return 1;
  if (ThreadCells::mine(ThreadCells::kNoColumn) != nullptr) return 2;
  PercpuRef ref;
  for (int life = 0; life < 20; ++life) {
    ref.reinit();
    std::latch running(2);
    std::vector<std::jthread> threads;
    for (int t = 0; t < 2; ++t) {
      threads.emplace_back([&] {
        running.count_down();
        while (ref.tryget_live()) std::this_thread::yield();
      });
    }
    running.wait();
    ref.kill();
    if (!ref.wait(deadline_after(std::chrono::seconds(20)))) return 3;
  }
  return 0;
}

TEST(ThreadCellsDeathTest, WithoutMembarrierAllCountInTheWord) {
  if (prctl(PR_GET_SECCOMP) < 0) GTEST_SKIP() << "a kernel without seccomp";
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // the child decides anew
  EXPECT_EXIT(std::exit(refuse_membarrier() ? live_without_membarrier() : 100),
              testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace pmemd
