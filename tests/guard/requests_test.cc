// How many requests fixed workloads make of the kernel: each is a round trip, whatever it takes.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "core/base/unique_fd.h"
#include "core/base/units.h"
#include "tests/integration/support/harness.h"

namespace pmemd {
namespace {

using Counts = std::map<std::string, uint64_t>;

class RequestsTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (!IsSkipped()) pool_.start();
  }

  Counts counts() {
    Counts now;
    const Json status = pool_.ctl_json({"status"});
    for (const Json& kind : status.at("requests_by_kind")) {
      now[kind.at("kind")] = kind.at("count").get<uint64_t>();
    }
    return now;
  }
  // Without those that arrive when the kernel likes.
  Counts made_by(const std::function<void()>& workload) {
    const Counts before = counts();
    workload();
    Counts made = counts();
    for (const auto& [kind, count] : before) made[kind] -= count;
    for (const char* late : {"RELEASE", "RELEASEDIR", "FORGET", "BATCH_FORGET", "INTERRUPT"}) {
      made.erase(late);
    }
    std::erase_if(made, [](const auto& kind) { return kind.second == 0; });
    return made;
  }
  std::string file(uint64_t i) const { return pool_.path(fmt::format("pmem0/file{}", i)); }

  TestPool pool_{Storage::kMemory};
};

// "LOOKUP 1, CREATE 1": for messages that can be read.
std::string text(const Counts& counts) {
  std::string words;
  for (const auto& [kind, count] : counts) {
    words += fmt::format("{}{} {}", words.empty() ? "" : ", ", kind, count);
  }
  return words;
}

// GETATTR: the kernel drops a directory's attributes at each change in it (fs/fuse/dir.c
// fuse_dir_changed() @v6.12), and asks for them when somebody walks through it.
TEST_F(RequestsTest, CreatingAFileIsALookupAndACreate) {
  close(open(file(0).c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));  // the directory is known
  const Counts made = made_by([&] {
    for (uint64_t i = 1; i <= 100; ++i) {
      close(open(file(i).c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
    }
  });
  EXPECT_EQ(text(made), "CREATE 100, GETATTR 100, LOOKUP 100");
}

TEST_F(RequestsTest, AWalkAsksForManyFilesAtOnce) {
  for (uint64_t i = 0; i < 300; ++i) write_file(file(i), "");
  pool_.stop();  // nothing is cached any more
  pool_.start({.create = ""});
  const Counts made = made_by([&] {
    uint64_t files = 0;
    for (const auto& entry : std::filesystem::directory_iterator(pool_.path("pmem0"))) {
      struct stat st = {};
      ASSERT_EQ(stat(entry.path().c_str(), &st), 0);
      ++files;
    }
    EXPECT_EQ(files, 300u);
  });
  EXPECT_FALSE(made.contains("READDIR")) << text(made);
  EXPECT_LE(made.at("READDIRPLUS"), 6u) << text(made);
  EXPECT_LE(made.contains("LOOKUP") ? made.at("LOOKUP") : 0, 1u) << "the directory: " << text(made);
}

TEST_F(RequestsTest, StatOfAKnownFileIsNone) {
  write_file(file(0), "");
  struct stat st = {};
  ASSERT_EQ(stat(file(0).c_str(), &st), 0);
  const Counts made = made_by([&] {
    for (int i = 0; i < 100; ++i) ASSERT_EQ(stat(file(0).c_str(), &st), 0);
  });
  EXPECT_EQ(text(made), "");
}

TEST_F(RequestsTest, WarmLoadsAndStoresAreNone) {
  write_file(file(0), std::string(16 * kPageSize, 'a'));
  const UniqueFd fd(open(file(0).c_str(), O_RDWR | O_CLOEXEC));
  auto* const bytes = static_cast<volatile char*>(
      mmap(nullptr, 16 * kPageSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0));
  const auto touch = [&] {
    for (uint64_t at = 0; at < 16 * kPageSize; at += 64)
      bytes[at] = static_cast<char>(bytes[at] + 1);
  };
  touch();
  const Counts made = made_by([&] {
    for (int i = 0; i < 100; ++i) touch();
  });
  // The kernel may write back meanwhile, what is dirty.
  EXPECT_FALSE(made.contains("READ")) << text(made);
  EXPECT_LE(made.contains("WRITE") ? made.at("WRITE") : 0, 16u) << text(made);
  munmap(const_cast<char*>(bytes), 16 * kPageSize);
}

TEST_F(RequestsTest, FirstTouchInOrderIsAReadForManyPages) {
  if (geteuid() != 0) GTEST_SKIP() << "only root raises the mount's readahead";
  constexpr uint64_t kBytes = 32 * kMiB;
  write_file(file(0), std::string(kBytes, 'a'));
  pool_.stop();  // nothing is cached any more
  pool_.start({.create = ""});
  const UniqueFd fd(open(file(0).c_str(), O_RDONLY | O_CLOEXEC));
  auto* const bytes =
      static_cast<const volatile char*>(mmap(nullptr, kBytes, PROT_READ, MAP_SHARED, fd.get(), 0));
  const Counts made = made_by([&] {
    for (uint64_t at = 0; at < kBytes; at += kPageSize) ASSERT_EQ(bytes[at], 'a');
  });
  // A request holds 1 MiB.
  EXPECT_LE(made.at("READ"), 2 * kBytes / kMiB) << text(made);
  EXPECT_EQ(made.size(), 1u) << text(made);
  munmap(const_cast<char*>(bytes), kBytes);
}

TEST_F(RequestsTest, MsyncOfAPageIsAWriteAndAFsync) {
  write_file(file(0), std::string(16 * kPageSize, 'a'));
  const UniqueFd fd(open(file(0).c_str(), O_RDWR | O_CLOEXEC));
  auto* const bytes = static_cast<char*>(
      mmap(nullptr, 16 * kPageSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0));
  bytes[5 * kPageSize] = 'b';
  ASSERT_EQ(msync(bytes, 16 * kPageSize, MS_SYNC), 0);
  const Counts made = made_by([&] {
    for (int i = 0; i < 10; ++i) {
      bytes[5 * kPageSize] = static_cast<char>('c' + i);
      ASSERT_EQ(msync(bytes + 5 * kPageSize, kPageSize, MS_SYNC), 0);
    }
  });
  EXPECT_EQ(text(made), "FSYNC 10, WRITE 10");
  munmap(bytes, 16 * kPageSize);
}

// The system calls that read and write, of a process: all threads.
uint64_t io_calls(pid_t pid) {
  std::ifstream file(fmt::format("/proc/{}/io", pid));
  uint64_t calls = 0;
  std::string name;
  for (uint64_t value = 0; file >> name >> value;) {
    if (name == "syscr:" || name == "syscw:") calls += value;
  }
  return calls;
}

TEST_F(RequestsTest, AReadOfDataIsTwoSystemCallsOfTheDaemon) {
  constexpr uint64_t kReads = 500;
  write_file(file(0), std::string(kReads * kPageSize, 'a'));
  const UniqueFd fd(open(file(0).c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT));
  const auto page = std::make_unique<std::byte[]>(2 * kPageSize);
  void* const aligned =
      reinterpret_cast<void*>(align_up(reinterpret_cast<uint64_t>(page.get()), kPageSize));
  const auto read_all = [&] {
    for (uint64_t i = 0; i < kReads; ++i) {
      ASSERT_EQ(pread(fd.get(), aligned, kPageSize, static_cast<off_t>(i * kPageSize)),
                static_cast<ssize_t>(kPageSize));
    }
  };
  read_all();
  const uint64_t before = io_calls(pool_.daemon().pid());
  read_all();
  const uint64_t calls = io_calls(pool_.daemon().pid()) - before;
  EXPECT_GE(calls, 2 * kReads);
  EXPECT_LE(calls, 2 * kReads + 50) << "what other threads do beside it";
}

}  // namespace
}  // namespace pmemd
