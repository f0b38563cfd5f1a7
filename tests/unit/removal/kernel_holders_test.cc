// Handles that no process has. Loop devices want a mount: tests/integration/who_was_hit_test.cc.
#include "core/removal/kernel_holders.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/unit/removal/removal_fixture.h"

namespace pmemd {
namespace {

using testing::HasSubstr;

class KernelHolders : public RemovalFixture {
 protected:
  static constexpr pid_t kNobody = 1 << 23;  // above the largest pid

  // Who is added to what a look has found.
  std::vector<Holder> added_to(std::vector<Holder> found, const std::vector<Reference>& handles) {
    const size_t before = found.size();
    add_kernel_holders(found, handles, {&fsdax_}, 0);
    return {found.begin() + static_cast<ptrdiff_t>(before), found.end()};
  }
  uint64_t open(uint64_t index, pid_t pid) {
    return must(fsdax_.handles().add({.ino = ino(fsdax_, index), .pid = pid}));
  }
};

TEST_F(KernelHolders, AFileThatNoProcessHasIsTheKernels) {
  open(5, getpid());
  const auto added = added_to({}, open_handles({&fsdax_}));
  ASSERT_EQ(added.size(), 1u);
  EXPECT_EQ(added[0].kernel, "the kernel");
  EXPECT_EQ(added[0].pid, getpid()) << "who opened it";
  EXPECT_EQ(added[0].comm, comm_of(getpid()));
  ASSERT_EQ(added[0].open_files.size(), 1u);
  EXPECT_EQ(added[0].open_files[0].ino, ino(fsdax_, 5));
  EXPECT_EQ(added[0].open_files[0].fd, -1);
}

TEST_F(KernelHolders, WhatAProcessHasOrHasClosedIsNotTheKernels) {
  open(5, getpid());
  const uint64_t closed = open(6, getpid());
  const auto handles = open_handles({&fsdax_});
  EXPECT_EQ(handles.size(), 2u);
  fsdax_.handles().remove(closed);
  EXPECT_TRUE(added_to({holder({mapping(ino(fsdax_, 5), "/pmem0/a")})}, handles).empty());
  EXPECT_TRUE(added_to({holder({}, {{ino(fsdax_, 5), "/pmem0/a", 3}})}, handles).empty());
}

TEST_F(KernelHolders, WhoHasJustEndedIsNotTheKernel) {
  open(5, kNobody);
  EXPECT_TRUE(added_to({}, open_handles({&fsdax_})).empty()) << "its RELEASE is on its way";
  open(6, 0);
  EXPECT_EQ(added_to({}, open_handles({&fsdax_})).size(), 1u) << "of another pid namespace";
}

TEST_F(KernelHolders, BusySaysWhatTheKernelHasAndHowItLetsGo) {
  open(5, kNobody);
  Holder loop = holder({}, {{ino(fsdax_, 5), "/pmem0/disk"}});
  loop.kernel = "loop7";
  kernel_.people = {loop};
  const auto alone = remove({&fsdax_}, {});
  EXPECT_EQ(alone.result.err(), EBUSY);
  EXPECT_THAT(alone.result.error().message, HasSubstr("namespace0.0: in use by loop7"));
  EXPECT_THAT(alone.result.error().hint, HasSubstr("losetup --detach"));
  EXPECT_EQ(alone.reports.at(0).holders.at(0).fate, Holder::Fate::kHolds)
      << "it outlives who opened it";
  kernel_.people.push_back(holder({mapping(ino(fsdax_, 5), "/pmem0/disk")}));
  EXPECT_THAT(remove({&fsdax_}, {}).result.error().message,
              HasSubstr("in use by 1 process, loop7"));
}

}  // namespace
}  // namespace pmemd
