// Each operation with its first, second, third … allocation failing, until none does: it is ENOMEM
// and nothing has changed, or done; in memory and, after a mount, in the tables.
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/xattr.h>

#include <functional>
#include <string>

#include "tests/unit/failing_allocation.h"
#include "tests/unit/filesystem/mounted_fs.h"

namespace pmemd {
namespace {

constexpr uint64_t kMostAllocations = 400;

class NoMemory : public testing::Test {
 protected:
  void SetUp() override {
    if (!FailingAllocation::is_possible()) GTEST_SKIP() << "operator new is a sanitizer's";
  }
  NoMemory() {
    dir_ = fs_.make_dir("dir");
    file_ = fs_.make("file");
    must(fs_.write(file_, 0, std::string(3 * kPageSize, 'a')));
    must(fs_.write(file_, 8 * kPageSize, std::string(kPageSize, 'b')));
    fs_.make("other", dir_);
    must(fs_->symlink(fs_.root(), "symlink", "a target", {}));
    must(fs_->xattrs().set(file_, "user.old", "value", 0, false));
  }

  using Act = std::function<Result<void>()>;
  // `undo` takes back what `act` did.
  void try_all(const char* what, const Act& act, const Act& undo) {
    SCOPED_TRACE(what);
    const std::string before = state();
    must(act());
    const std::string after = state();
    must(undo());
    ASSERT_EQ(state(), before) << "the test's undo";
    for (uint64_t n = 1; n < kMostAllocations; ++n) {
      SCOPED_TRACE(testing::Message() << "allocation " << n);
      Result<void> result;
      bool was_hit = false;
      {
        const FailingAllocation fails(n);
        result = or_no_memory(act);
        was_hit = fails.hit();
      }
      ASSERT_TRUE(result || result.err() == ENOMEM) << result.error().describe();
      ASSERT_EQ(state(), result ? after : before);
      fs_.remount();
      ASSERT_EQ(state(), result ? after : before) << "in the tables";
      if (result) must(undo());
      if (!was_hit) return;
    }
    FAIL() << "it has no end";
  }
  void try_all(const char* what, const Act& act) {
    try_all(what, act, []() -> Result<void> { return {}; });
  }
  template <class T>
  static Result<void> done(const Result<T>& result) {
    if (!result) return std::unexpected(result.error());
    return {};
  }

  std::string state() {
    return fmt::format("{}free {}\n", state_of(fs_.root(), ""), fs_.free_bytes());
  }
  std::string state_of(uint64_t dir, const std::string& path) {
    std::string text;
    for (const std::string& name : fs_.names(dir)) {
      if (name == "." || name == "..") continue;
      const Attr attr = must(fs_->lookup(dir, name));
      text += fmt::format("{}/{} {:o} {} {} {}", path, name, attr.mode, attr.nlink, attr.size,
                          attr.blocks);
      if (S_ISREG(attr.mode)) {
        text += fmt::format(" {}", std::hash<std::string>{}(fs_.read(attr.ino, 0, attr.size)));
      }
      for (const std::string& xattr : must(fs_->xattrs().list(attr.ino))) {
        text += fmt::format(" {}={}", xattr, must(fs_->xattrs().get(attr.ino, xattr)).size());
      }
      text += '\n';
      if (S_ISDIR(attr.mode)) text += state_of(attr.ino, path + "/" + name);
    }
    return text;
  }
  Result<void> chmod(uint64_t ino, mode_t mode) {
    SetAttr change;
    change.mode = mode;
    return done(fs_->setattr(ino, change));
  }

  MountedFs fs_;
  uint64_t dir_ = 0, file_ = 0;
};

TEST_F(NoMemory, WhileNamesChangeLeavesThemAsTheyWere) {
  const uint64_t root = fs_.root();
  const Act unlink = [&] { return fs_->unlink(root, "new"); };
  try_all("mknod", [&] { return done(fs_->mknod(root, "new", S_IFREG | 0600, 0, {})); }, unlink);
  try_all(
      "mkdir", [&] { return done(fs_->mkdir(root, "new", 0700, {})); },
      [&] { return fs_->rmdir(root, "new"); });
  try_all(
      "symlink", [&] { return done(fs_->symlink(root, "new", std::string(300, 't'), {})); },
      unlink);
  try_all("link", [&] { return done(fs_->link(file_, root, "new")); }, unlink);
  must(fs_->link(file_, root, "twice"));
  try_all(
      "unlink of one of two", [&] { return fs_->unlink(root, "twice"); },
      [&] { return done(fs_->link(file_, root, "twice")); });
}

TEST_F(NoMemory, WhileFilesMoveLeavesThemWhereTheyWere) {
  const uint64_t root = fs_.root();
  try_all(
      "rename", [&] { return fs_->rename(root, "file", dir_, "moved", 0); },
      [&] { return fs_->rename(dir_, "moved", root, "file", 0); });
  try_all(
      "exchange", [&] { return fs_->rename(root, "file", dir_, "other", RENAME_EXCHANGE); },
      [&] { return fs_->rename(root, "file", dir_, "other", RENAME_EXCHANGE); });
  const auto again = [&]() -> Result<void> {
    const uint64_t ino = fs_.make("victim");
    return fs_.write(ino, kPageSize, std::string(2 * kPageSize, 'v'));
  };
  must(again());
  try_all("unlink", [&] { return fs_->unlink(root, "victim"); }, again);
  fs_.make("on top");
  try_all(
      "replace", [&] { return fs_->rename(root, "on top", root, "victim", 0); },
      [&]() -> Result<void> {
        PMEMD_TRY(fs_->unlink(root, "victim"));
        PMEMD_TRY(again());
        fs_.make("on top");
        return {};
      });
}

TEST_F(NoMemory, WhileBytesChangeLosesNone) {
  const uint64_t end = 9 * kPageSize;
  const auto cut = [&] { return done(fs_.truncate(file_, end)); };
  try_all("append", [&] { return fs_.write(file_, end, std::string(100, 'n')); }, cut);
  try_all("overwrite", [&] { return fs_.write(file_, 100, std::string(kPageSize, 'a')); });
  const auto punch = [&] {
    return fs_->fallocate(file_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, kPageSize, kPageSize);
  };
  const auto fill = [&] { return fs_.write(file_, kPageSize, std::string(kPageSize, 'a')); };
  try_all("punch", punch, fill);
  must(punch());
  try_all("fill", fill, punch);
  must(fill());
  try_all("allocate", [&] { return fs_->fallocate(file_, 0, end, 3 * kMiB); }, cut);
  try_all("grow", [&] { return done(fs_.truncate(file_, 2 * end)); }, cut);
  try_all(
      "shrink", [&] { return done(fs_.truncate(file_, 2 * kPageSize)); },
      [&]() -> Result<void> {
        PMEMD_TRY(fs_.write(file_, 2 * kPageSize, std::string(kPageSize, 'a')));
        return fs_.write(file_, 8 * kPageSize, std::string(kPageSize, 'b'));
      });
  try_all("fsync", [&] { return fs_->fsync(file_, false); });
}

TEST_F(NoMemory, WhileAttributesChangeLeavesThemAsTheyWere) {
  try_all("chmod", [&] { return chmod(file_, 0600); }, [&] { return chmod(file_, 0644); });
  try_all(
      "setxattr", [&] { return fs_->xattrs().set(file_, "user.new", "value", 0, false); },
      [&] { return fs_->xattrs().remove(file_, "user.new"); });
  try_all(
      "removexattr", [&] { return fs_->xattrs().remove(file_, "user.old"); },
      [&] { return fs_->xattrs().set(file_, "user.old", "value", 0, false); });
}

TEST_F(NoMemory, WhileOneLooksChangesNothing) {
  const uint64_t root = fs_.root();
  try_all("lookup", [&] { return done(fs_->lookup(root, "file")); });
  try_all("getattr", [&] { return done(fs_->getattr(file_)); });
  try_all("read", [&] { return done(fs_->read(file_, {0, 9 * kPageSize})); });
  try_all("lseek", [&] { return done(fs_->lseek(file_, 0, SEEK_HOLE, {})); });
  try_all("readlink", [&] { return done(fs_->readlink(must(fs_->lookup(root, "symlink")).ino)); });
  try_all("getxattr", [&] { return done(fs_->xattrs().get(file_, "user.old")); });
  try_all("listxattr", [&] { return done(fs_->xattrs().list(file_)); });
  try_all("readdir", [&] { return fs_->readdir(root, 0, [](const DirEntry&) { return true; }); });
  try_all("readdirplus", [&] {
    return fs_->readdirplus(root, 0, [](const DirEntry&, const Attr&) { return true; });
  });
  try_all("statfs", [&] { return done(fs_->statfs()); });
  try_all("owners", [&] {
    FailedParts parts;
    return fs_->owners({{0, 64 * kMiB}}, parts);
  });
  try_all("paths", [&] { return done(fs_->paths({file_, dir_})); });
  try_all("extents", [&] { return done(fs_->extents(file_)); });
}

// An open file whose name is gone.
TEST_F(NoMemory, WhileAnOrphanIsForgottenLeavesItToTheNextMount) {
  const uint64_t free_before = fs_.free_bytes();
  for (uint64_t n = 1; n < kMostAllocations; ++n) {
    SCOPED_TRACE(testing::Message() << "allocation " << n);
    const uint64_t ino = must(fs_->tmpfile(fs_.root(), 0600, {})).ino;
    fs_.lookups().add(ino);
    must(fs_.write(ino, 0, std::string(3 * kPageSize, 'o')));
    fs_.lookups().drop(ino, 1);
    bool was_hit = false;
    {
      const FailingAllocation fails(n);
      (void)or_no_memory([&]() -> Result<void> {
        fs_->forget(ino);
        return {};
      });
      was_hit = fails.hit();
    }
    fs_.remount();
    ASSERT_EQ(fs_.free_bytes(), free_before);
    if (!was_hit) return;
  }
  FAIL() << "it has no end";
}

}  // namespace
}  // namespace pmemd
