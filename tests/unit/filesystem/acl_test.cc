#include "core/filesystem/acl.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

namespace pmemd {
namespace {

constexpr uint32_t kNoId = UINT32_MAX;

Acl minimal(mode_t mode) {
  return {{kAclUserObj, static_cast<uint16_t>((mode >> 6) & 7), kNoId},
          {kAclGroupObj, static_cast<uint16_t>((mode >> 3) & 7), kNoId},
          {kAclOther, static_cast<uint16_t>(mode & 7), kNoId}};
}

Acl extended(uint16_t user, uint16_t group, uint16_t mask) {
  return {{kAclUserObj, 7, kNoId},
          {kAclUser, user, 1000},
          {kAclGroupObj, group, kNoId},
          {kAclMask, mask, kNoId},
          {kAclOther, 5, kNoId}};
}

TEST(Acl, TheValueIsTheKernels) {
  // version 2; user::rwx user:1000:r-- group::r-x mask::r-x other::---
  const std::string expected(
      "\x02\0\0\0"
      "\x01\0\x07\0\xff\xff\xff\xff"
      "\x02\0\x04\0\xe8\x03\0\0"
      "\x04\0\x05\0\xff\xff\xff\xff"
      "\x10\0\x05\0\xff\xff\xff\xff"
      "\x20\0\0\0\xff\xff\xff\xff",
      44);
  const Acl acl = {{kAclUserObj, 7, kNoId},
                   {kAclUser, 4, 1000},
                   {kAclGroupObj, 5, kNoId},
                   {kAclMask, 5, kNoId},
                   {kAclOther, 0, kNoId}};
  EXPECT_EQ(encode_acl(acl), expected);
  EXPECT_EQ(*parse_acl(expected), acl);
}

TEST(Acl, NoEntriesMeanNoAcl) {
  EXPECT_TRUE(parse_acl("")->empty());
  EXPECT_TRUE(parse_acl(std::string("\x02\0\0\0", 4))->empty());
}

TEST(Acl, MalformedValuesAreRefused) {
  EXPECT_EQ(parse_acl("\x02").err(), EINVAL);
  EXPECT_EQ(parse_acl(std::string("\x01\0\0\0", 4)).err(), EOPNOTSUPP);
  EXPECT_EQ(parse_acl(encode_acl(minimal(0755)) + "x").err(), EINVAL);
  EXPECT_EQ(parse_acl(encode_acl(minimal(0755)).substr(0, 20)).err(), EINVAL);
}

TEST(Acl, ImpossibleListsAreRefused) {
  const auto refused = [](const Acl& acl) { return parse_acl(encode_acl(acl)).err() == EINVAL; };
  Acl acl = minimal(0755);
  EXPECT_FALSE(refused(acl));
  std::swap(acl[0], acl[1]);
  EXPECT_TRUE(refused(acl)) << "order";
  for (size_t missing = 0; missing < 3; ++missing) {
    acl = minimal(0755);
    acl.erase(acl.begin() + static_cast<long>(missing));
    EXPECT_TRUE(refused(acl)) << missing;
  }
  acl = minimal(0755);
  acl.insert(acl.begin(), acl[0]);
  EXPECT_TRUE(refused(acl)) << "twice";
  acl = minimal(0755);
  acl[0].perm = 8;
  EXPECT_TRUE(refused(acl)) << "perm";
  acl = minimal(0755);
  acl[2].tag = 0x40;
  EXPECT_TRUE(refused(acl)) << "tag";
  acl = extended(7, 7, 7);
  EXPECT_FALSE(refused(acl));
  acl[1].id = kNoId;
  EXPECT_TRUE(refused(acl)) << "id";
  acl = extended(7, 7, 7);
  acl.erase(acl.begin() + 3);
  EXPECT_TRUE(refused(acl)) << "no mask";
}

TEST(Acl, TheModeIsOwnerMaskAndOthers) {
  EXPECT_EQ(acl_mode(minimal(0754)), 0754u);
  EXPECT_EQ(acl_mode(extended(7, 7, 2)), 0725u);
  EXPECT_TRUE(acl_is_only_mode(minimal(0)));
  EXPECT_FALSE(acl_is_only_mode(extended(7, 7, 7)));
}

TEST(Acl, ChmodChangesTheMaskWhereThereIsOne) {
  Acl acl = extended(7, 6, 7);
  chmod_acl(acl, 0640);
  EXPECT_EQ(acl_mode(acl), 0640u);
  EXPECT_EQ(acl[1].perm, 7);  // named user: as before
  EXPECT_EQ(acl[2].perm, 6);  // group: the mask took the change
  acl = minimal(0777);
  chmod_acl(acl, 0640);
  EXPECT_EQ(acl, minimal(0640));
}

TEST(Acl, InheritingTakesTheIntersection) {
  const InheritedAcl plain = inherit_acl(minimal(0750), S_IFREG | 0666);
  EXPECT_EQ(plain.mode, S_IFREG | 0640u);
  EXPECT_FALSE(plain.access);

  const InheritedAcl masked = inherit_acl(extended(7, 7, 7), S_IFREG | S_ISUID | 0640);
  EXPECT_EQ(masked.mode, S_IFREG | S_ISUID | 0640u);
  ASSERT_TRUE(masked.access);
  EXPECT_EQ((*masked.access)[0].perm, 6);
  EXPECT_EQ((*masked.access)[1].perm, 7);  // the mask limits it
  EXPECT_EQ((*masked.access)[2].perm, 7);
  EXPECT_EQ((*masked.access)[3].perm, 4);
  EXPECT_EQ((*masked.access)[4].perm, 0);
}

}  // namespace
}  // namespace pmemd
