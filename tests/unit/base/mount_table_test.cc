#include "core/base/mount_table.h"

#include <gtest/gtest.h>
#include <sys/sysmacros.h>

namespace pmemd {
namespace {

TEST(MountTable, ParsesALineOfMountinfo) {
  const auto mount = parse_mount(
      R"(36 35 0:44 /dir\040x /mnt/a\040b\134c rw,nosuid shared:1 master:2 - fuse.pmemd pmemd:/p\011q rw,user_id=7)");
  ASSERT_TRUE(mount);
  EXPECT_EQ(mount->id, 36u);
  EXPECT_EQ(mount->parent_id, 35u);
  EXPECT_EQ(mount->device_number, makedev(0, 44));
  EXPECT_EQ(mount->root, "/dir x");
  EXPECT_EQ(mount->point, "/mnt/a b\\c");
  EXPECT_EQ(mount->type, "fuse.pmemd");
  EXPECT_EQ(mount->source, "pmemd:/p\tq");
  EXPECT_EQ(fuse_owner(*mount), 7u);
}

TEST(MountTable, WhatIsNoLineIsNoMount) {
  for (const char* const line : {"", "36", "36 35 044 / /mnt rw - ext4 x rw", "x y 0:4 / / - a b c",
                                 "36 35 0:44 / /mnt rw", R"(36 35 0:x / /a\9 rw - ext4 s rw)"}) {
    EXPECT_FALSE(parse_mount(line)) << line;
  }
}

TEST(MountTable, OnlyFuseMountsHaveAnOwner) {
  MountInfo mount{.type = "tmpfs", .options = "rw,user_id=7"};
  EXPECT_FALSE(fuse_owner(mount));
  mount.type = "fusectl";
  EXPECT_FALSE(fuse_owner(mount));
  for (const char* const type : {"fuse", "fuseblk", "fuse.sshfs"}) {
    mount.type = type;
    EXPECT_EQ(fuse_owner(mount), 7u);
  }
  mount.options = "rw";
  EXPECT_FALSE(fuse_owner(mount));
}

TEST(MountTable, KnowsTheMountOfTheRoot) {
  const auto table = read_mount_table();
  ASSERT_FALSE(table.empty());
  EXPECT_EQ(find_mount_id(table, table.front().id), &table.front());
  EXPECT_EQ(find_mount_id(table, UINT64_MAX), nullptr);
}

}  // namespace
}  // namespace pmemd
