// Lookups that are counted, and forgotten: FORGET, BATCH_FORGET. Neither has a reply.
#include <string>
#include <utility>
#include <vector>

#include "tests/unit/daemon/fuse/session.h"

namespace pmemd::test {
namespace {

class FuseForget : public FuseSession {
 protected:
  FuseForget() { serve(); }

  void batch_forget(const std::vector<fuse_forget_one>& all) {
    std::string body = bytes(fuse_batch_forget_in{static_cast<uint32_t>(all.size()), 0});
    for (const fuse_forget_one& one : all) body += bytes(one);
    kernel_.send(FUSE_BATCH_FORGET, 0, body);
  }
  bool is_known(uint64_t ino) {
    settle();
    return fsdax().lookups().counts().is_known(ino);
  }
  // Without the kernel's knowledge.
  uint64_t make_file_unseen(std::string_view name) {
    return must(must(fsdax().admit(Admission::kRequest))
                    .fs()
                    .mknod(root(), name, S_IFREG | 0644, 0, {}))
        .ino;
  }
  // Whether the file system has it, under a name or not.
  bool is_there(uint64_t ino) {
    settle();
    return must(fsdax().admit(Admission::kRequest)).fs().getattr(ino).has_value();
  }
};

TEST_F(FuseForget, EachLookupCountsOne) {
  const uint64_t ino = make_file("file");
  lookup(root(), "file");
  lookup(root(), "file");
  forget(ino, 1);
  forget(ino, 1);
  EXPECT_TRUE(is_known(ino));
  forget(ino, 1);
  EXPECT_FALSE(is_known(ino));
}

TEST_F(FuseForget, SeveralAreForgottenAtOnce) {
  const uint64_t ino = make_file("file");
  lookup(root(), "file");
  lookup(root(), "file");
  forget(ino, 2);
  EXPECT_TRUE(is_known(ino));
  forget(ino, 1);
  EXPECT_FALSE(is_known(ino));
}

TEST_F(FuseForget, UnlinkedFileGoesWithItsLastLookup) {
  const uint64_t ino = make_file("file", "bytes");
  lookup(root(), "file");
  EXPECT_EQ(unlink("file").err, 0);
  forget(ino, 1);
  EXPECT_TRUE(is_there(ino));
  EXPECT_EQ(read(ino, 0, 5).body, "bytes");
  forget(ino, 1);
  EXPECT_FALSE(is_there(ino));
  EXPECT_EQ(kernel_.call(FUSE_GETATTR, ino, bytes(fuse_getattr_in{})).err, ESTALE);
}

TEST_F(FuseForget, LinkedFileStays) {
  const uint64_t ino = make_file("file");
  forget(ino, 1);
  EXPECT_TRUE(is_there(ino));
}

TEST_F(FuseForget, LastLookupGivesBackWhatWasLent) {
  const uint64_t ino = make_file("file", std::string(kPageSize, 'a'));
  read(ino, 0, kPageSize);
  ASSERT_EQ(fsdax().leases().ranges(ino).size(), 1U);
  forget(ino, 1);
  settle();
  EXPECT_TRUE(fsdax().leases().ranges(ino).empty());
}

TEST_F(FuseForget, BatchForgetsAll) {
  const uint64_t a = make_file("a");
  const uint64_t b = make_file("b");
  const uint64_t c = make_file("c");
  lookup(root(), "b");
  for (const char* name : {"a", "b", "c"}) EXPECT_EQ(unlink(name).err, 0);
  batch_forget({{a, 1}, {b, 1}, {c, 1}});
  EXPECT_FALSE(is_there(a));
  EXPECT_TRUE(is_there(b));
  EXPECT_FALSE(is_there(c));
  batch_forget({{b, 1}});
  EXPECT_FALSE(is_there(b));
}

TEST_F(FuseForget, MoreThanWasLookedUpForgetsAllAndNoMore) {
  const uint64_t a = make_file("a");
  const uint64_t b = make_file("b");
  forget(a, 1000);
  forget(a, UINT64_MAX);
  EXPECT_FALSE(is_known(a));
  EXPECT_TRUE(is_known(b));
  // It counts from none again.
  lookup(root(), "a");
  EXPECT_TRUE(is_known(a));
  forget(a, 1);
  EXPECT_FALSE(is_known(a));
}

TEST_F(FuseForget, OfNoneForgetsNothing) {
  const uint64_t ino = make_file("file");
  forget(ino, 0);
  EXPECT_TRUE(is_known(ino));
}

TEST_F(FuseForget, WhatIsNotKnownIsPassedOver) {
  const uint64_t ino = make_file("file");
  const uint64_t never_looked_up = make_file_unseen("other");
  const uint64_t never_was = root() + 1000;
  const uint64_t of_no_device = make_inode_number(77, 5);
  for (const uint64_t unknown : {never_looked_up, never_was, of_no_device, uint64_t{0},
                                 uint64_t{FUSE_ROOT_ID}, UINT64_MAX}) {
    forget(unknown, 1);
  }
  batch_forget({{of_no_device, 1}, {never_was, 1}, {ino, 1}, {0, 1}});
  batch_forget({});
  EXPECT_FALSE(is_known(ino));
  EXPECT_TRUE(is_there(ino));
  EXPECT_TRUE(is_there(never_looked_up));
}

TEST_F(FuseForget, OfARemovedDeviceIsCountedStill) {
  const uint64_t ino = make_file("file");
  must(fsdax().kill(false));
  fsdax().stop_writeback();
  forget(ino, 1);
  EXPECT_FALSE(is_known(ino));
}

}  // namespace
}  // namespace pmemd::test
