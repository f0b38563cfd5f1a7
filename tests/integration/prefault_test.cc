// What is read ahead into the page cache: on request (pmemctl prefault), and because its pages are
// touched one by one.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/mman.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "core/base/unique_fd.h"
#include "core/base/units.h"
#include "tests/integration/support/control_client.h"
#include "tests/integration/support/harness.h"

namespace pmemd {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kSize = 16 * kMiB;
constexpr uint64_t kPart = 2 * kMiB;

// So many pages, but for some that the kernel has taken back since: it may at any time, where the
// host is short of memory or DAMON looks for what is cold.
MATCHER_P(IsResident, pages, "") { return arg <= pages && arg + 16 >= pages; }

class MappedFile {
 public:
  explicit MappedFile(const std::string& path, uint64_t size = kSize)
      : size_(size), fd_(open(path.c_str(), O_RDWR | O_CLOEXEC)) {
    base_ =
        static_cast<char*>(mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(), 0));
    EXPECT_NE(base_, MAP_FAILED) << path;
  }
  ~MappedFile() { munmap(base_, size_); }
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  char* at(uint64_t offset) const { return base_ + offset; }
  // Pages of the range that are in the page cache.
  uint64_t resident(uint64_t offset, uint64_t length) const {
    std::vector<unsigned char> pages(length / kPageSize);
    EXPECT_EQ(mincore(base_ + offset, length, pages.data()), 0);
    return static_cast<uint64_t>(
        std::ranges::count_if(pages, [](unsigned char page) { return (page & 1) != 0; }));
  }
  uint64_t resident() const { return resident(0, size_); }
  // Has nothing of it in the page cache any more, unless somebody brings it in meanwhile.
  void drop() const {
    EXPECT_EQ(fsync(fd_.get()), 0);
    EXPECT_EQ(posix_fadvise(fd_.get(), 0, 0, POSIX_FADV_DONTNEED), 0);
  }
  void evict() const {
    drop();
    EXPECT_EQ(resident(), 0u);
  }
  // One READ a page.
  void touch(uint64_t offset, unsigned pages) const {
    EXPECT_EQ(madvise(base_, size_, MADV_RANDOM), 0);
    for (unsigned i = 0; i < pages; ++i) {
      (void)*static_cast<volatile char*>(base_ + offset + i * 7 * kPageSize);
    }
  }

 private:
  const uint64_t size_;
  const UniqueFd fd_;
  char* base_ = nullptr;
};

class PrefaultTest : public MountTest {
 protected:
  void start(const std::vector<std::string>& args = {}) {
    pool_.start({.args = args});
    pool_.make_two_namespaces();
    write_file(path_, pattern(1, kSize));
    write_file(other_, pattern(2, kPageSize));
  }
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    path_ = pool_.path("pmem0/a");
    other_ = pool_.path("pmem0/b");
  }
  // What was noticed before has been read ahead, or never is: one queue, in order.
  void wait_for_queue() { pool_.ctl_json({"prefault", other_}); }

  TestPool pool_;
  std::string path_, other_;
};

TEST_F(PrefaultTest, BringsInAFileOrARangeOfIt) {
  start();
  const MappedFile file(path_);
  file.evict();
  EXPECT_EQ(pool_.ctl_json({"prefault", path_, "--offset", "4M", "--length", "4K"}),
            Json({{"file", "/pmem0/a"}, {"bytes", 4096}, {"failed_bytes", 0}}));
  EXPECT_EQ(file.resident(), 1u);
  pool_.ctl_json({"prefault", path_, "--offset", "5M", "--length", "3M"});
  EXPECT_THAT(file.resident(5 * kMiB, 3 * kMiB), IsResident(768u));
  EXPECT_THAT(file.resident(), IsResident(769u));
  pool_.ctl_json({"prefault", path_});
  EXPECT_THAT(file.resident(), IsResident(kSize / kPageSize));
  EXPECT_EQ(std::memcmp(file.at(0), pattern(1, kSize).data(), kSize), 0);
}

TEST_F(PrefaultTest, BringsInNamespacesAndLeavesNobodyHoldingThem) {
  start();
  {
    const MappedFile file(path_), dax(pool_.path("dax0.1"), 62 * kMiB);
    file.evict();
    const Json printed = pool_.ctl_json({"prefault", "0.0", "namespace0.1"});
    EXPECT_EQ(printed.at(1),
              Json({{"namespace", "namespace0.1"}, {"bytes", 62 * kMiB}, {"failed_bytes", 0}}));
    EXPECT_THAT(file.resident(), IsResident(kSize / kPageSize));
    EXPECT_THAT(dax.resident(), IsResident(62 * kMiB / kPageSize));
  }
  // What the daemon itself opened isn't in the way.
  EXPECT_EQ(pool_.ctl({"disable-namespace", "namespace0.0"}).code, 0);
}

TEST_F(PrefaultTest, SaysWhatIsWrong) {
  start();
  const auto error_of = [&](std::vector<std::string> args) {
    args.insert(args.begin(), "prefault");
    const Output output = pool_.ctl(std::move(args));
    EXPECT_EQ(output.code, 1);
    return output.err;
  };
  EXPECT_THAT(error_of({"namespace7.7"}), HasSubstr("no such namespace"));
  EXPECT_THAT(error_of({path_ + "x"}), HasSubstr("No such file"));
  EXPECT_THAT(error_of({pool_.path("pmem0")}), HasSubstr("no regular file"));
  EXPECT_THAT(error_of({path_, "--offset", "17M"}), HasSubstr("not within"));
  EXPECT_THAT(error_of({path_, "--keep-free", "1024T"}), HasSubstr("--keep-free"));
  pool_.ctl_json({"create-namespace", "--mode", "private", "--size", "16M"});
  EXPECT_THAT(error_of({"namespace0.2"}), HasSubstr("volatile"));
  pool_.ctl_json({"disable-namespace", "namespace0.0"});
  EXPECT_THAT(error_of({"namespace0.0"}), HasSubstr("not enabled"));
  ControlClient client(pool_.socket());
  const auto both = client.call("Prefault", {{"namespace", "namespace0.1"}, {"file", "/dax0.1"}});
  EXPECT_EQ(both.err(), EINVAL);
}

TEST_F(PrefaultTest, TellsOfWhatIsBadAndTouchesNoLatentError) {
  start();
  const MappedFile file(path_);
  file.evict();
  pool_.ctl_json(
      {"inject-error", "--file", path_, "--offset", "4M", "--length", "4K", "--no-notify"});
  EXPECT_EQ(pool_.ctl_json({"prefault", path_})["failed_bytes"], kPageSize);
  EXPECT_THAT(file.resident(), IsResident(kSize / kPageSize - 1));
  file.evict();
  EXPECT_EQ(pool_.ctl_json({"prefault", "0.0"})["failed_bytes"], kPageSize);
  EXPECT_THAT(file.resident(), IsResident(kSize / kPageSize - 1));
  EXPECT_TRUE(pool_.ctl({"badblocks", "namespace0.0"}).out.empty());
}

// Readahead fills in what is missing; what a mapping has stored, and nobody has written back,
// stays.
TEST_F(PrefaultTest, LosesNoStore) {
  start();
  const MappedFile file(path_);
  std::atomic<bool> stopping = false;
  std::thread prefaults([&] {
    ControlClient client(pool_.socket());
    while (!stopping) EXPECT_TRUE(client.call("Prefault", {{"file", "/pmem0/a"}}).done());
  });
  std::vector<uint64_t> stored(kSize / kPageSize);
  std::mt19937_64 random(1);
  uint64_t wrong = 0;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(2);
  for (uint64_t n = 1; std::chrono::steady_clock::now() < end; ++n) {
    const uint64_t page = random() % stored.size(), other = random() % stored.size();
    std::memcpy(file.at(page * kPageSize), &n, sizeof(n));
    stored[page] = n;
    uint64_t found = 0;
    std::memcpy(&found, file.at(other * kPageSize), sizeof(found));
    if (stored[other] != 0 && found != stored[other]) ++wrong;
    // Pages go, and are read again.
    if (n % 4096 == 0) madvise(file.at(0), kSize, MADV_PAGEOUT);
  }
  stopping = true;
  prefaults.join();
  EXPECT_EQ(wrong, 0u);
  for (uint64_t page = 0; page < stored.size(); ++page) {
    uint64_t found = 0;
    std::memcpy(&found, file.at(page * kPageSize), sizeof(found));
    EXPECT_TRUE(stored[page] == 0 || found == stored[page]) << page;
  }
}

TEST_F(PrefaultTest, AForcedRemovalDoesntWaitForIt) {
  start();
  std::atomic<bool> stopping = false;
  std::thread prefaults([&] {
    ControlClient client(pool_.socket());
    while (!stopping) {
      client.call("Prefault", {{"file", "/pmem0/a"}});
      client.call("Prefault", {{"namespace", "namespace0.1"}});
    }
  });
  for (unsigned round = 0; round < 5; ++round) {
    MappedFile(path_).drop();  // and the other thread brings it in
    for (const char* name : {"namespace0.0", "namespace0.1"}) {
      EXPECT_EQ(pool_.ctl_json({"disable-namespace", name, "--force"})["pages_left"], 0);
    }
    for (const char* name : {"namespace0.0", "namespace0.1"}) {
      EXPECT_EQ(pool_.ctl({"enable-namespace", name}).code, 0);
    }
  }
  stopping = true;
  prefaults.join();
  EXPECT_EQ(read_file(path_), pattern(1, kSize));
}

TEST_F(PrefaultTest, TheRestOfWhatIsTouchedPageByPageIsReadAhead) {
  start();
  const MappedFile file(path_);
  file.evict();
  file.touch(4 * kMiB, 3);  // too few
  file.touch(8 * kMiB, 5);
  wait_for_queue();
  EXPECT_EQ(file.resident(4 * kMiB, kPart), 3u);
  EXPECT_THAT(file.resident(8 * kMiB, kPart), IsResident(kPart / kPageSize));
  EXPECT_THAT(file.resident(), IsResident(3 + kPart / kPageSize));
}

TEST_F(PrefaultTest, HotRangesCanBeTurnedOff) {
  start({"--no-hot-ranges"});
  const MappedFile file(path_);
  file.evict();
  file.touch(8 * kMiB, 20);
  wait_for_queue();
  EXPECT_EQ(file.resident(), 20u);
}

TEST_F(PrefaultTest, WhereMemoryFailsATouchIsOneTouch) {
  start();
  pool_.ctl_json({"inject-error", "--file", path_, "--offset", "0", "--length", "4K"});
  const MappedFile file(path_);
  posix_fadvise(UniqueFd(open(path_.c_str(), O_RDONLY | O_CLOEXEC)).get(), 0, 0,
                POSIX_FADV_DONTNEED);
  file.touch(8 * kMiB, 20);
  wait_for_queue();
  EXPECT_EQ(file.resident(8 * kMiB, kPart), 20u);
}

}  // namespace
}  // namespace pmemd
