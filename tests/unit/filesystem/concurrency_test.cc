// Many threads on one file system: nothing is lost, nothing is given twice. Under TSan, too.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "core/base/units.h"
#include "core/filesystem/check.h"
#include "core/filesystem/filesystem.h"
#include "tests/unit/filesystem/mounted_fs.h"

namespace pmemd {
namespace {

constexpr uint64_t kBlock = kPageSize;

class ConcurrencyTest : public testing::Test {
 protected:
  ConcurrencyTest() {
    pool_ = must(Pool::create(directory_.path() + "/pool", 34 * kMiB, Reservation::kSparse));
    fs_ = std::make_unique<MountedFs>(*pool_);
  }
  ~ConcurrencyTest() override {
    must((*fs_)->flush_times());
    for (const Finding& finding : must(check_pool(*pool_))) {
      ADD_FAILURE() << finding.object << ": " << finding.problem;
    }
  }

  // Runs `work(index, random)` in threads of their own; the seed is printed if something fails.
  void run(int threads, const std::function<void(int, std::mt19937_64&)>& work) {
    const uint64_t seed = std::random_device{}();
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::vector<std::thread> running;
    for (int i = 0; i < threads; ++i) {
      running.emplace_back([&work, i, seed] {
        std::mt19937_64 random(seed + static_cast<uint64_t>(i));
        work(i, random);
      });
    }
    for (std::thread& thread : running) thread.join();
  }

  TemporaryDirectory directory_;
  std::unique_ptr<Pool> pool_;
  std::unique_ptr<MountedFs> fs_;
};

// Each file's bytes tell whose they are: a block that two files had at a time would show.
TEST_F(ConcurrencyTest, FilesKeepTheirBytesWhileOthersComeAndGo) {
  run(4, [this](int index, std::mt19937_64& random) {
    const std::string name = fmt::format("file{}", index);
    for (int round = 0; round < 30; ++round) {
      const uint64_t ino = fs_->make(name);
      const char mark = static_cast<char>('a' + random() % 26);
      const std::string bytes((1 + random() % 300) * kBlock, mark);
      ASSERT_FALSE(fs_->write(ino, 0, bytes).err());
      ASSERT_FALSE(
          (*fs_)->fallocate(ino, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, kBlock).err());
      must((*fs_)->fsync(ino, random() % 2 == 0));
      const std::string found = fs_->read(ino, 0, bytes.size());
      ASSERT_TRUE(found == std::string(kBlock, '\0') + bytes.substr(kBlock)) << name;
      if (random() % 2 == 0) must(fs_->truncate(ino, random() % bytes.size()));
      must((*fs_)->unlink(fs_->root(), name));
    }
  });
  EXPECT_EQ(fs_->free_bytes(), 32 * kMiB);
}

TEST_F(ConcurrencyTest, OneDirectoryForAll) {
  std::atomic<int> created = 0, removed = 0;
  run(4, [&](int, std::mt19937_64& random) {
    for (int round = 0; round < 200; ++round) {
      const std::string name = fmt::format("n{}", random() % 8);
      const std::string other = fmt::format("n{}", random() % 8);
      switch (random() % 6) {
        case 0:
        case 1: {
          if ((*fs_)->mknod(fs_->root(), name, S_IFREG | 0644, 0, {})) created += 1;
          break;
        }
        case 2:
          if ((*fs_)->unlink(fs_->root(), name)) removed += 1;
          break;
        case 3:
          (void)(*fs_)->rename(fs_->root(), name, fs_->root(), other, RENAME_EXCHANGE);
          break;
        case 4: {
          uint64_t last = 0;
          must((*fs_)->readdir(fs_->root(), 0, [&](const DirEntry& entry) {
            EXPECT_GT(entry.next_cookie, last);
            last = entry.next_cookie;
            return true;
          }));
          break;
        }
        default:
          (void)(*fs_)->rename(fs_->root(), name, fs_->root(), other, RENAME_NOREPLACE);
      }
    }
  });
  EXPECT_EQ(fs_->names(fs_->root()).size(), 2u + static_cast<size_t>(created - removed));
}

TEST_F(ConcurrencyTest, OneFileForAll) {
  const uint64_t ino = fs_->make("shared");
  run(4, [&](int index, std::mt19937_64& random) {
    const std::string bytes(kBlock + 100, static_cast<char>('a' + index));
    for (int round = 0; round < 150; ++round) {
      const uint64_t offset = random() % (3 * kMiB);
      switch (random() % 9) {
        case 0:
          must(fs_->truncate(ino, offset));
          break;
        case 1:
          must((*fs_)->fallocate(ino, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset,
                                 20 * kBlock));
          break;
        case 2:
          must((*fs_)->fallocate(ino, FALLOC_FL_ZERO_RANGE, offset, 5 * kBlock));
          break;
        case 3:
          must((*fs_)->fsync(ino, false));
          break;
        case 4:
          fs_->read(ino, offset, kMiB);
          break;
        case 5:
          (*fs_)->forget(ino);
          break;
        case 6:
          must((*fs_)->flush_times());
          break;
        case 7:
          (void)(*fs_)->lseek(ino, offset, random() % 2 == 0 ? SEEK_DATA : SEEK_HOLE, {});
          break;
        default:
          ASSERT_FALSE(fs_->write(ino, offset, bytes).err());
      }
    }
  });
  EXPECT_EQ(fs_->free_bytes() + fs_->attr(ino).blocks * 512, 32 * kMiB);
}

// An overwrite and a chmod at the same time: neither's stamp is lost.
TEST_F(ConcurrencyTest, TimesOfOverwritesSurviveOtherChanges) {
  const uint64_t ino = fs_->make("f");
  ASSERT_FALSE(fs_->write(ino, 0, "x").err());
  std::atomic<bool> done = false;
  run(2, [&](int index, std::mt19937_64&) {
    SetAttr change;
    change.mode = 0600;
    while (index == 1 && !done) must((*fs_)->setattr(ino, change));
    for (int round = 0; index == 0 && round < 3000; ++round) {
      fs_->advance_ns(1);
      const timespec before = fs_->attr(ino).mtime;
      EXPECT_FALSE(fs_->write(ino, 0, "y").err());
      std::this_thread::yield();
      const timespec after = fs_->attr(ino).mtime;
      if (after.tv_nsec == before.tv_nsec + 1 && after.tv_sec == before.tv_sec) continue;
      ADD_FAILURE() << "lost in round " << round;
      break;
    }
    done = true;
  });
}

}  // namespace
}  // namespace pmemd
