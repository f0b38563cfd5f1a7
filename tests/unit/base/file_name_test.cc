#include "core/base/file_name.h"

#include <gtest/gtest.h>

namespace pmemd {
namespace {

std::string parsed(std::string_view text, std::string_view mount = "/mnt/pmem") {
  const auto name = parse_file_name(text, mount);
  if (!name) return name.error().message;
  return "object " + name->object + ", device " + name->device + ", path " + name->path;
}

TEST(FileName, FromTheMountsRoot) {
  EXPECT_EQ(parsed("/pmem0/dir/a"), "object , device pmem0, path /dir/a");
  EXPECT_EQ(parsed("/pmem0.1"), "object , device pmem0.1, path ");
  EXPECT_EQ(parsed("//dax0.0//"), "object , device dax0.0, path //");
  EXPECT_EQ(parsed("/"), "object , device , path ");
  EXPECT_EQ(parsed("/pmem*/a?"), "object , device pmem*, path /a?");
  EXPECT_EQ(parsed("/pmem0/namespace0.0:/a"), "object , device pmem0, path /namespace0.0:/a");
}

TEST(FileName, ByThePathOfTheMount) {
  EXPECT_EQ(parsed("/mnt/pmem/pmem0/dir/a"), "object , device pmem0, path /dir/a");
  EXPECT_EQ(parsed("/mnt/pmem"), "object , device , path ");
  EXPECT_EQ(parsed("/mnt/pmem/*/a"), "object , device *, path /a");
  // A mount point may be called as a device is.
  EXPECT_EQ(parsed("/pmem0/pmem0/a", "/pmem0"), "object , device pmem0, path /a");
  EXPECT_EQ(parsed("/pmem0/a", "/pmem0"), "object , device pmem0, path /a");
}

TEST(FileName, InANamespaceOrVolume) {
  EXPECT_EQ(parsed("namespace0.0:/dir/a"), "object namespace0.0, device , path /dir/a");
  EXPECT_EQ(parsed("volume2:/"), "object volume2, device , path /");
}

TEST(FileName, WhatCannotBeInTheMountIsEinval) {
  for (const char* const text : {"", "a", "dir/a", "./pmem0/a", "namespace0.0", "namespace0.0:a",
                                 "nope:/a", "namespace0:/a", "/tmp/a", "/mnt/pmem2/pmem0/a",
                                 "/pmem/a", "/pmem0x/a", "/pmem0./a", "/pmem0.1.2/a", "/dax0/a"}) {
    EXPECT_EQ(parse_file_name(text, "/mnt/pmem").err(), EINVAL) << text;
  }
}

TEST(ObjectName, HasAsManyNumbersAsItsKind) {
  for (const char* const name : {"namespace0.0", "namespace12.34", "volume7", "region0"}) {
    EXPECT_TRUE(is_object_name(name)) << name;
  }
  for (const char* const name : {"", "0.0", "namespace", "namespace0", "namespace0.", "namespace.0",
                                 "namespace0..1", "volume1.2", "region", "regionx", "pmem0"}) {
    EXPECT_FALSE(is_object_name(name)) << name;
  }
}

}  // namespace
}  // namespace pmemd
