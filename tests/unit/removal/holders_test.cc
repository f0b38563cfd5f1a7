// What /proc tells of real children that map and open files of a tmpfs.
#include "core/removal/holders.h"

#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "tests/unit/removal/child.h"
#include "tests/unit/removal/tmpfs_file.h"

namespace pmemd {
namespace {

class HoldersTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!is_tmpfs(directory_.path())) GTEST_SKIP() << "/dev/shm is no tmpfs";
  }

  std::vector<Holder> find(const TmpfsFile& file, const std::string& mount_point) {
    return find_holders(file.device(), mount_point,
                        [&](uint64_t ino) { return ino == file.ino(); });
  }
  std::vector<Holder> find(const TmpfsFile& file) { return find(file, directory_.path()); }

  static Mapping mapping_of(const TmpfsFile& file, FileRange range, uint64_t address) {
    Mapping mapping;
    mapping.ino = file.ino();
    mapping.range = range;
    mapping.addresses = AddressRange::sized(address, range.length());
    return mapping;
  }

  TemporaryDirectory directory_{TemporaryDirectory::Place::kInMemory};
};

TEST_F(HoldersTest, TellsWhatIsMappedWhereAndByWhom) {
  const TmpfsFile file(directory_.path(), "a", 8);
  Child child([&] {
    ::prctl(PR_SET_NAME, "a mapper)");
    return file.map(pages(2, 6), {}, MAP_SHARED, /*keep_open=*/true);
  });
  const auto holders = find(file);
  ASSERT_EQ(holders.size(), 1u);
  EXPECT_EQ(holders[0].pid, child.pid());
  EXPECT_EQ(holders[0].uid, ::geteuid());
  EXPECT_EQ(holders[0].comm, "a mapper)");
  ASSERT_EQ(holders[0].mappings.size(), 1u);
  const Mapping& mapping = holders[0].mappings[0];
  EXPECT_EQ(mapping.ino, file.ino());
  EXPECT_EQ(mapping.path, "/a");
  EXPECT_EQ(mapping.range, pages(2, 6));
  EXPECT_EQ(mapping.addresses, AddressRange::sized(child.told(), 4 * kPageSize));
  EXPECT_FALSE(mapping.is_private);
  EXPECT_EQ(mapping.pages_present, 0u) << "not counted here";
  ASSERT_EQ(holders[0].open_files.size(), 1u);
  EXPECT_EQ(holders[0].open_files[0].ino, file.ino());
  EXPECT_EQ(holders[0].open_files[0].path, "/a");
  EXPECT_GE(holders[0].open_files[0].fd, 0);
}

TEST_F(HoldersTest, MappingWithoutDescriptorAndDescriptorWithoutMapping) {
  const TmpfsFile file(directory_.path(), "a", 1);
  Child mapper([&] { return file.map(pages(0, 1), {}); });
  Child opener([&] { return static_cast<uint64_t>(::open(file.path().c_str(), O_RDONLY)); });
  for (const Holder& holder : find(file)) {
    const bool maps = holder.pid == mapper.pid();
    EXPECT_EQ(holder.mappings.size(), maps ? 1u : 0u);
    EXPECT_EQ(holder.open_files.size(), maps ? 0u : 1u);
    if (!maps) {
      EXPECT_EQ(holder.pid, opener.pid());
      EXPECT_EQ(holder.open_files.at(0).fd, static_cast<int>(opener.told()));
    }
  }
  EXPECT_EQ(find(file).size(), 2u);
}

TEST_F(HoldersTest, ForkedGrandchildHoldsToo) {
  const TmpfsFile file(directory_.path(), "a", 1);
  Child child([&]() -> uint64_t {
    if (file.map(pages(0, 1), pages(0, 1)) == UINT64_MAX) return UINT64_MAX;
    const pid_t parent = ::getpid();
    const pid_t grandchild = ::fork();
    if (grandchild != 0) return static_cast<uint64_t>(grandchild);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(0);  // it has ended already
    while (true) ::pause();
  });
  const auto holders = find(file);
  ASSERT_EQ(holders.size(), 2u);
  std::vector<pid_t> pids = {holders[0].pid, holders[1].pid};
  std::vector<pid_t> expected = {child.pid(), static_cast<pid_t>(child.told())};
  std::ranges::sort(pids);
  std::ranges::sort(expected);
  EXPECT_EQ(pids, expected);
  EXPECT_EQ(holders[0].mappings.at(0).addresses, holders[1].mappings.at(0).addresses);
}

TEST_F(HoldersTest, SeveralMappingsOfAProcessAreAllTold) {
  const TmpfsFile file(directory_.path(), "a", 8);
  Child child([&] {
    file.map(pages(0, 2), {}, MAP_PRIVATE);
    return file.map(pages(4, 5), {});
  });
  const auto holders = find(file);
  ASSERT_EQ(holders.size(), 1u);
  ASSERT_EQ(holders[0].mappings.size(), 2u);
  for (const Mapping& mapping : holders[0].mappings) {
    EXPECT_EQ(mapping.is_private, mapping.range == pages(0, 2));
  }
}

TEST_F(HoldersTest, DeletedFileIsFoundByItsInode) {
  const TmpfsFile file(directory_.path(), "gone", 1);
  Child child([&] { return file.map(pages(0, 1), {}, MAP_SHARED, true); });
  ::unlink(file.path().c_str());
  const auto holders = find(file);
  ASSERT_EQ(holders.size(), 1u);
  EXPECT_EQ(holders[0].mappings.at(0).path, "/gone (deleted)");
  EXPECT_EQ(holders[0].open_files.at(0).path, "/gone (deleted)");
}

TEST_F(HoldersTest, NamesOfAnyBytesHideNothingAndForgeNothing) {
  const std::string forged =
      "x\n7f0000000000-7f0000001000 rw-s 00000000 00:01 1                  evil";
  for (const std::string& name :
       {std::string("two words"), std::string("  leading and trailing  "), std::string("a\nb"),
        std::string("back\\slash"), std::string("caf\xc3\xa9 \xff"), std::string("x (deleted)"),
        std::string("\t"), forged, std::string(255, 'n')}) {
    const TmpfsFile file(directory_.path(), name, 1);
    Child child([&] { return file.map(pages(0, 1), {}, MAP_SHARED, true); });
    const auto holders =
        find_holders(file.device(), directory_.path(), [](uint64_t ino) { return ino == 1; });
    EXPECT_TRUE(holders.empty()) << "the forged line was believed";
    const auto found = find(file);
    ASSERT_EQ(found.size(), 1u) << name;
    ASSERT_EQ(found[0].mappings.size(), 1u);
    EXPECT_EQ(found[0].mappings[0].addresses.begin, child.told());
    EXPECT_EQ(found[0].open_files.at(0).path, "/" + name);
    // maps escapes a newline, and nothing else.
    std::string shown = "/" + name;
    for (size_t at = 0; (at = shown.find('\n', at)) != std::string::npos;) {
      shown.replace(at, 1, "\\012");
    }
    EXPECT_EQ(found[0].mappings[0].path, shown);
  }
}

TEST_F(HoldersTest, OnlyWantedInodesOfThatDeviceAreTold) {
  const TmpfsFile wanted(directory_.path(), "wanted", 1);
  const TmpfsFile other(directory_.path(), "other", 1);
  Child child([&] {
    other.map(pages(0, 1), {}, MAP_SHARED, true);
    return wanted.map(pages(0, 1), {}, MAP_SHARED, true);
  });
  const auto holders = find(wanted);
  ASSERT_EQ(holders.size(), 1u);
  EXPECT_EQ(holders[0].mappings.size(), 1u);
  EXPECT_EQ(holders[0].open_files.size(), 1u);
  EXPECT_TRUE(find_holders(wanted.device() + 1, "", [](uint64_t) { return true; }).empty());
}

TEST_F(HoldersTest, TheProcessItselfIsNone) {
  const TmpfsFile file(directory_.path(), "a", 1);
  const UniqueFd fd(::open(file.path().c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_TRUE(find(file).empty());
}

// Of two directories, one's name begins with the other's: it isn't the mount point.
TEST_F(HoldersTest, MountPointIsCutAtAWholeName) {
  ASSERT_EQ(::mkdir((directory_.path() + "/mnt").c_str(), 0700), 0);
  ASSERT_EQ(::mkdir((directory_.path() + "/mnt2").c_str(), 0700), 0);
  const TmpfsFile inside(directory_.path() + "/mnt", "a", 1);
  const TmpfsFile beside(directory_.path() + "/mnt2", "a", 1);
  Child child([&] {
    inside.map(pages(0, 1), {});
    return beside.map(pages(0, 1), {});
  });
  EXPECT_EQ(find(inside, directory_.path() + "/mnt").at(0).mappings.at(0).path, "/a");
  EXPECT_EQ(find(beside, directory_.path() + "/mnt").at(0).mappings.at(0).path, beside.path());
}

// Without an exec such a process isn't dumpable: most of what it has in /proc belongs to root.
TEST_F(HoldersTest, UserIsWhomItRunsAs) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root changes its user";
  const TmpfsFile file(directory_.path(), "a", 1);
  Child child([&] {
    const uint64_t address = file.map(pages(0, 1), {});
    return ::setresuid(65534, 65534, 65534) == 0 ? address : UINT64_MAX;
  });
  EXPECT_EQ(find(file).at(0).uid, 65534u);
}

TEST_F(HoldersTest, CountsPagesThatArePresentInTheParts) {
  const TmpfsFile file(directory_.path(), "a", 16);
  Child child([&] { return file.map(pages(2, 16), pages(4, 9)); });
  const auto mapping = mapping_of(file, pages(2, 16), child.told());
  const auto count = [&](const std::vector<FileRange>& parts) {
    return count_present_pages(child.pid(), mapping, parts).value();
  };
  EXPECT_EQ(count({kWholeFile}), 5u);
  EXPECT_EQ(count({}), 0u);
  EXPECT_EQ(count({pages(0, 4)}), 0u);
  EXPECT_EQ(count({pages(0, 5)}), 1u);
  EXPECT_EQ(count({pages(4, 5), pages(8, 20)}), 2u);
  EXPECT_EQ(count({pages(5, 5)}), 0u);
  file.drop_pages();
  EXPECT_EQ(count({kWholeFile}), 0u) << "unmapped by the file system";
}

TEST_F(HoldersTest, PartsThatAreNoWholePagesCountEachPageOnce) {
  const TmpfsFile file(directory_.path(), "a", 4);
  Child child([&] { return file.map(pages(0, 4), pages(0, 4)); });
  const auto mapping = mapping_of(file, pages(0, 4), child.told());
  const auto count = [&](const std::vector<FileRange>& parts) {
    return count_present_pages(child.pid(), mapping, parts).value();
  };
  EXPECT_EQ(count({{100, 200}}), 1u);
  EXPECT_EQ(count({{100, 200}, {300, 400}}), 1u);
  EXPECT_EQ(count({{100, 5000}, {6000, 6001}, {8192, 8193}}), 3u);
}

// Two mappings side by side: what lies behind the first is not its own.
TEST_F(HoldersTest, PartsOutsideOfTheMappingCountNothing) {
  const TmpfsFile file(directory_.path(), "a", 8);
  Child child([&] { return file.map(pages(0, 8), pages(0, 8)); });
  const auto mapping = mapping_of(file, pages(0, 2), child.told());
  for (const FileRange part : {pages(2, 3), FileRange{2 * kPageSize + 5, 3 * kPageSize},
                               FileRange{3 * kPageSize + 5, 3 * kPageSize + 6}}) {
    EXPECT_EQ(count_present_pages(child.pid(), mapping, {part}).value(), 0u) << part.begin;
  }
  EXPECT_EQ(count_present_pages(child.pid(), mapping, {kWholeFile}).value(), 2u);
}

TEST_F(HoldersTest, PrivateCopiesAreNotThePagesOfTheFile) {
  const TmpfsFile file(directory_.path(), "a", 4);
  Child child([&]() -> uint64_t {
    const uint64_t at = file.map(pages(0, 4), pages(0, 1), MAP_PRIVATE);  // one page copied
    const volatile char* const bytes = reinterpret_cast<const volatile char*>(at);
    return bytes[kPageSize] == 0 ? at : UINT64_MAX;  // one page read
  });
  auto mapping = mapping_of(file, pages(0, 4), child.told());
  mapping.is_private = true;
  EXPECT_EQ(count_present_pages(child.pid(), mapping, {kWholeFile}).value(), 1u);
}

TEST_F(HoldersTest, CountsMoreThanOneBatch) {
  constexpr uint64_t kPages = 10'000;
  const TmpfsFile file(directory_.path(), "a", kPages);
  Child child([&] { return file.map(pages(0, kPages), pages(0, kPages)); });
  const auto mapping = mapping_of(file, pages(0, kPages), child.told());
  EXPECT_EQ(count_present_pages(child.pid(), mapping, {kWholeFile}).value(), kPages);
  EXPECT_EQ(count_present_pages(child.pid(), mapping, {{1, kPages * kPageSize - 1}}).value(),
            kPages);
}

// A kernel before 6.7: each ioctl is ENOTTY.
bool refuse_ioctls() {
  std::array<sock_filter, 4> code = {{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOTTY),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  }};
  const sock_fprog program = {code.size(), code.data()};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

TEST_F(HoldersTest, OlderKernelsAreAskedPageByPage) {
  constexpr uint64_t kPages = 5'000;
  const TmpfsFile file(directory_.path(), "a", kPages);
  Child mapper([&] { return file.map(pages(0, kPages), pages(3, kPages)); });
  const auto mapping = mapping_of(file, pages(0, kPages), mapper.told());
  Child looker([&] {
    return refuse_ioctls() ? count_present_pages(mapper.pid(), mapping, {kWholeFile}).value()
                           : UINT64_MAX;
  });
  EXPECT_EQ(looker.told(), kPages - 3);
  EXPECT_EQ(count_present_pages(mapper.pid(), mapping, {kWholeFile}).value(), kPages - 3);
}

TEST_F(HoldersTest, ProcessThatIsGoneHoldsNothing) {
  const TmpfsFile file(directory_.path(), "a", 1);
  Child child([&] { return file.map(pages(0, 1), pages(0, 1)); });
  const auto mapping = mapping_of(file, pages(0, 1), child.told());
  const pid_t pid = child.pid();
  child.end();
  EXPECT_EQ(count_present_pages(pid, mapping, {kWholeFile}).value(), 0u);
  EXPECT_TRUE(find(file).empty());
}

TEST_F(HoldersTest, ForeignProcessIsNotOursToLookAt) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root changes its user";
  const pid_t root_process = ::getpid();
  Child child([&]() -> uint64_t {
    if (::setresuid(65534, 65534, 65534) != 0) return UINT64_MAX;
    return static_cast<uint64_t>(count_present_pages(root_process, {}, {kWholeFile}).err());
  });
  EXPECT_TRUE(child.told() == EACCES || child.told() == EPERM) << child.told();
}

}  // namespace
}  // namespace pmemd
