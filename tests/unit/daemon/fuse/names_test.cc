// Names over the wire: LOOKUP, READDIR, READDIRPLUS, and names that are too long.
#include <fcntl.h>

#include <map>
#include <string>
#include <vector>

#include "tests/unit/daemon/fuse/session.h"

namespace pmemd::test {
namespace {

constexpr uint64_t kDay = 24 * 3600;

class FuseNames : public FuseSession {
 protected:
  FuseNames() { serve(); }

  uint64_t make_directory(std::string_view name) {
    fuse_mkdir_in in = {};
    in.mode = 0755;
    return kernel_.call(FUSE_MKDIR, root(), bytes(in) + name_bytes(name))
        .as<fuse_entry_out>()
        .nodeid;
  }
  int create(std::string_view name) {
    fuse_create_in in = {};
    in.mode = S_IFREG | 0644;
    return kernel_.call(FUSE_CREATE, root(), bytes(in) + name_bytes(name)).err;
  }

  struct Entry {
    std::string name;
    uint64_t cookie = 0;
    fuse_entry_out plus = {};
  };
  // One READDIR or READDIRPLUS.
  std::vector<Entry> list(uint32_t opcode, uint64_t dir, uint64_t cookie, uint32_t size) {
    const FakeReply reply = kernel_.call(opcode, dir, read_bytes(cookie, size));
    EXPECT_EQ(reply.err, 0);
    EXPECT_LE(reply.body.size(), size);
    std::vector<Entry> entries;
    for (size_t at = 0; at < reply.body.size();) {
      Entry entry;
      if (opcode == FUSE_READDIRPLUS) {
        entry.plus = reply.as<fuse_entry_out>(at);
        at += sizeof(fuse_entry_out);
      }
      const auto head = reply.as<fuse_dirent>(at);
      entry.name = reply.body.substr(at + FUSE_NAME_OFFSET, head.namelen);
      entry.cookie = head.off;
      at += FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + head.namelen);
      entries.push_back(std::move(entry));
    }
    return entries;
  }
  // All of it, by requests of `size`: how often each name came.
  std::map<std::string, int> list_all(uint64_t dir, uint32_t size) {
    std::map<std::string, int> names;
    uint64_t cookie = 0;
    for (auto some = list(FUSE_READDIR, dir, 0, size); !some.empty();
         some = list(FUSE_READDIR, dir, cookie, size)) {
      for (const Entry& entry : some) ++names[entry.name];
      cookie = some.back().cookie;
    }
    return names;
  }
};

TEST_F(FuseNames, LookupTellsTheInode) {
  const uint64_t ino = make_file("file", "12345");
  const FakeReply reply = lookup(root(), "file");
  ASSERT_EQ(reply.err, 0);
  const auto entry = reply.as<fuse_entry_out>();
  EXPECT_EQ(entry.nodeid, ino);
  EXPECT_EQ(entry.entry_valid, kDay);
  EXPECT_EQ(entry.attr_valid, kDay);
  EXPECT_EQ(entry.attr.ino, ino);
  EXPECT_EQ(entry.attr.size, 5U);
  EXPECT_EQ(entry.attr.mode, S_IFREG | 0644U);
}

TEST_F(FuseNames, NameThatIsNotThereMayBeCached) {
  const FakeReply reply = lookup(root(), "nothing");
  ASSERT_EQ(reply.err, 0);
  EXPECT_EQ(reply.as<fuse_entry_out>().nodeid, 0U);
  EXPECT_EQ(reply.as<fuse_entry_out>().entry_valid, kDay);
  EXPECT_EQ(fsdax().lookups().counts().size(), 0U);
}

// Namespaces come and go behind the kernel's back.
TEST_F(FuseNames, NamespaceThatIsNotThereIsNotCached) {
  EXPECT_EQ(lookup(FUSE_ROOT_ID, "pmem7").err, ENOENT);
}

TEST_F(FuseNames, LookupInTheRootFindsNamespaces) {
  devdax();
  EXPECT_EQ(lookup(FUSE_ROOT_ID, "pmem0").as<fuse_entry_out>().nodeid, root());
  const auto dax = lookup(FUSE_ROOT_ID, "dax1.0").as<fuse_entry_out>();
  EXPECT_EQ(dax.nodeid, devdax().root_ino());
  EXPECT_EQ(dax.attr.size, devdax().record().data_bytes());
  EXPECT_EQ(lookup(root(), "..").as<fuse_entry_out>().nodeid, uint64_t{FUSE_ROOT_ID});
}

TEST_F(FuseNames, LookupBelowWhatIsNoDirectoryFails) {
  EXPECT_EQ(lookup(make_file("file"), "name").err, ENOTDIR);
  EXPECT_EQ(lookup(devdax().root_ino(), "name").err, ENOTDIR);
}

TEST_F(FuseNames, LookupBelowAnInodeThatNeverWasIsStale) {
  EXPECT_EQ(lookup(root() + 1000, "name").err, ESTALE);
  EXPECT_EQ(lookup(make_inode_number(77, 5), "name").err, ESTALE);  // nor its device
}

TEST_F(FuseNames, LookupOnARemovedDeviceFails) {
  make_file("file");
  must(fsdax().kill(false));
  EXPECT_EQ(lookup(root(), "file").err, EIO);
  EXPECT_EQ(lookup(FUSE_ROOT_ID, "pmem0").err, ENOENT);
}

TEST_F(FuseNames, NameOf255BytesIsOneAnd256IsTooLong) {
  const std::string longest(255, 'n');
  const uint64_t ino = make_file(longest);
  EXPECT_EQ(lookup(root(), longest).as<fuse_entry_out>().nodeid, ino);
  EXPECT_EQ(lookup(root(), longest + 'n').err, ENAMETOOLONG);
  EXPECT_EQ(create(longest + 'n'), ENAMETOOLONG);
  EXPECT_EQ(unlink(longest + 'n').err, ENAMETOOLONG);
  EXPECT_EQ(lookup(FUSE_ROOT_ID, longest + 'n').err, ENOENT);
  EXPECT_EQ(list_all(root(), 4096).count(longest), 1U);
}

TEST_F(FuseNames, NothingIsMadeInTheRoot) {
  fuse_mkdir_in in = {};
  EXPECT_EQ(kernel_.call(FUSE_MKDIR, FUSE_ROOT_ID, bytes(in) + name_bytes("dir")).err, EPERM);
  EXPECT_EQ(kernel_.call(FUSE_RMDIR, FUSE_ROOT_ID, name_bytes("pmem0")).err, EPERM);
}

TEST_F(FuseNames, ReaddirTellsEachNameOnceWhateverTheBuffer) {
  const std::map<std::string, int> once = {{".", 1}, {"..", 1}, {"a", 1}, {"bb", 1}, {"dir", 1}};
  make_file("a");
  make_file("bb");
  make_directory("dir");
  EXPECT_EQ(list_all(root(), 4096), once);
  EXPECT_EQ(list_all(root(), 40), once);  // room for one
  EXPECT_TRUE(list(FUSE_READDIR, root(), 0, 20).empty());
}

TEST_F(FuseNames, ReaddirOfTheRootTellsWhatIsLive) {
  devdax();
  auto names = list_all(FUSE_ROOT_ID, 40);
  EXPECT_EQ(names,
            (std::map<std::string, int>{
                {".", 1}, {"..", 1}, {"pmem0", 1}, {"dax1.0", 1}, {"hmm1.1", 1}, {"p2p1.2", 1}}));
  must(devdax().kill(false));
  names = list_all(FUSE_ROOT_ID, 4096);
  EXPECT_FALSE(names.contains("dax1.0"));
}

TEST_F(FuseNames, ReaddirOfAFileFails) {
  EXPECT_EQ(kernel_.call(FUSE_READDIR, make_file("file"), read_bytes(0, 4096)).err, ENOTDIR);
}

TEST_F(FuseNames, ReaddirplusCountsALookupOfEachNameButTheDots) {
  const uint64_t file = make_file("file");
  const uint64_t dir = make_directory("dir");
  forget(file, 1);
  forget(dir, 1);
  settle();
  ASSERT_EQ(fsdax().lookups().counts().size(), 0U);
  std::map<std::string, uint64_t> told;
  for (const Entry& entry : list(FUSE_READDIRPLUS, root(), 0, 4096)) {
    told[entry.name] = entry.plus.nodeid;
  }
  EXPECT_EQ(told,
            (std::map<std::string, uint64_t>{{".", 0}, {"..", 0}, {"file", file}, {"dir", dir}}));
  EXPECT_EQ(fsdax().lookups().counts().size(), 2U);
}

// The entry that didn't fit was looked at, but isn't told.
TEST_F(FuseNames, ReaddirplusCountsOnlyWhatFits) {
  for (const char* name : {"a", "b", "c"}) forget(make_file(name), 1);
  settle();
  const uint32_t one = FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET_DIRENTPLUS + 1);
  const auto entries = list(FUSE_READDIRPLUS, root(), 0, 3 * one);  // the dots, and one
  ASSERT_EQ(entries.size(), 3U);
  EXPECT_EQ(fsdax().lookups().counts().known(), std::vector{entries.back().plus.nodeid});
}

}  // namespace
}  // namespace pmemd::test
