// Directories that are read together with the attributes of what is in them (READDIRPLUS): the
// kernel comes to know inodes that nobody looked up by name.
#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "core/base/unique_fd.h"
#include "tests/integration/support/harness.h"

namespace pmemd {
namespace {

using Stats = std::map<std::string, struct stat>;

class WalkTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (!IsSkipped()) pool_.start();
  }
  // As a kernel that knows nothing yet finds it.
  void restart() {
    pool_.stop();
    pool_.start();
  }
  // readdir(3) and fstatat(2) of each.
  Stats walk(const std::string& dir) const {
    Stats found;
    const std::unique_ptr<DIR, int (*)(DIR*)> stream(opendir(dir.c_str()), closedir);
    EXPECT_NE(stream, nullptr);
    while (const dirent* entry = readdir(stream.get())) {
      struct stat& st = found[entry->d_name];
      EXPECT_EQ(fstatat(dirfd(stream.get()), entry->d_name, &st, AT_SYMLINK_NOFOLLOW), 0);
    }
    return found;
  }

  TestPool pool_{Storage::kMemory};
};

TEST_F(WalkTest, TellsWhatStatTells) {
  const std::string dir = pool_.path("pmem0/d");
  ASSERT_EQ(mkdir(dir.c_str(), 0750), 0);
  ASSERT_EQ(mkdir((dir + "/sub").c_str(), 02775), 0);
  ASSERT_EQ(symlink("nowhere", (dir + "/link").c_str()), 0);
  ASSERT_EQ(mknod((dir + "/fifo").c_str(), S_IFIFO | 0600, 0), 0);
  for (int i = 0; i < 500; ++i) {
    write_file(fmt::format("{}/{}", dir, i), pattern(1, static_cast<size_t>(i) * 40));
  }
  Stats before = walk(dir);  // of inodes that the kernel knows from their creation
  EXPECT_EQ(before.size(), 505u);
  restart();
  const Stats after = walk(dir);
  ASSERT_EQ(after.size(), before.size());
  for (const auto& [name, st] : after) {
    if (name == "." || name == "..") continue;  // read meanwhile, so that their atime moves
    struct stat& expected = before[name];
    expected.st_dev = st.st_dev;
    EXPECT_EQ(memcmp(&st, &expected, sizeof(st)), 0) << name;
  }
}

// Its row must stay until the kernel, which heard of it in the walk alone, has forgotten it.
TEST_F(WalkTest, AFileThatOnlyAWalkToldOfOutlivesItsName) {
  const std::string dir = pool_.path("pmem0/d");
  ASSERT_EQ(mkdir(dir.c_str(), 0755), 0);
  const std::string content = pattern(2, 100'000);
  for (int i = 0; i < 300; ++i) write_file(fmt::format("{}/{}", dir, i), content);
  restart();
  ASSERT_EQ(walk(dir).size(), 302u);
  std::map<std::string, UniqueFd> open_files;
  for (int i = 0; i < 300; i += 7) {
    const std::string path = fmt::format("{}/{}", dir, i);
    UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    ASSERT_TRUE(fd);
    ASSERT_EQ(unlink(path.c_str()), 0);
    open_files.emplace(path, std::move(fd));
  }
  for (const auto& [path, fd] : open_files) {
    std::string bytes(content.size(), '\0');
    ASSERT_EQ(pread(fd.get(), bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()))
        << path;
    EXPECT_TRUE(bytes == content) << path;
  }
  open_files.clear();
  restart();
  pool_.expect_check_passes();
  EXPECT_EQ(walk(dir).size(), 302u - 43);
}

// Of namespaces only the names are told, so that one that goes leaves nothing behind.
TEST_F(WalkTest, OfTheRootOfTheMountShowsWhatIsThere) {
  EXPECT_TRUE(walk(pool_.mount()).contains("pmem0"));
  pool_.ctl_json({"disable-namespace", "namespace0.0", "--force"});
  EXPECT_FALSE(walk(pool_.mount()).contains("pmem0"));
  pool_.ctl_json({"enable-namespace", "namespace0.0"});
  EXPECT_TRUE(S_ISDIR(walk(pool_.mount()).at("pmem0").st_mode));
}

}  // namespace
}  // namespace pmemd
