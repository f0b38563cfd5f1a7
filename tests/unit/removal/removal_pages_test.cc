// The proof that nothing is left mapped, and the end of processes: real children on a tmpfs.
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>

#include "tests/unit/removal/child.h"
#include "tests/unit/removal/removal_fixture.h"
#include "tests/unit/removal/tmpfs_file.h"

namespace pmemd {
namespace {

class RemovalPagesTest : public RemovalFixture {
 protected:
  static constexpr uint64_t kPages = 8;

  void SetUp() override {
    if (!is_tmpfs(directory_.path())) GTEST_SKIP() << "/dev/shm is no tmpfs";
    lend(fsdax_, 5, pages(0, kPages));
  }

  // The child's mapping of the tmpfs file passes for one of inode 5.
  Holder holder_of(const Child& child) const {
    Mapping mapped = mapping(ino(fsdax_, 5), "/pmem0/a", pages(0, kPages));
    mapped.addresses = AddressRange::sized(child.told(), kPages * kPageSize);
    Holder holder;
    holder.pid = child.pid();
    if (const auto stat = process_stat(child.pid())) holder.started = stat->started;
    holder.mappings = {mapped};
    return holder;
  }
  uint64_t map_three() const { return file_.map(pages(0, kPages), pages(2, 5)); }

  TemporaryDirectory directory_{TemporaryDirectory::Place::kInMemory};
  TmpfsFile file_{directory_.path(), "file", kPages};
};

TEST_F(RemovalPagesTest, ReportsThePagesThatWerePresentWhenTheyWereRevoked) {
  const Child child([&] { return map_three(); });
  kernel_.people = {holder_of(child)};
  kernel_.on_inval = [&](uint64_t) -> Result<void> {
    file_.drop_pages();
    return {};
  };
  const auto outcome = remove({&fsdax_}, forced());
  ASSERT_TRUE(outcome.result) << outcome.result.error().describe();
  EXPECT_EQ(outcome.reports.at(0).holders.at(0).mappings.at(0).pages_present, 3u);
  EXPECT_EQ(outcome.reports.at(0).pages_left, 0u);
  EXPECT_EQ(kernel_.calls("inval"), 1u);
  EXPECT_TRUE(child.is_running());
}

TEST_F(RemovalPagesTest, PagesThatWereNotLentAreNotAsked) {
  fsdax_.leases().give_back(ino(fsdax_, 5), pages(0, 4));
  const Child child([&] { return map_three(); });
  kernel_.people = {holder_of(child)};
  auto options = forced();
  options.dry_run = true;
  const auto outcome = remove({&fsdax_}, options);
  EXPECT_EQ(outcome.reports.at(0).holders.at(0).mappings.at(0).pages_present, 1u);
}

TEST_F(RemovalPagesTest, PageThatComesBackIsRevokedAgain) {
  const Child child([&] { return map_three(); });
  kernel_.people = {holder_of(child)};
  int calls = 0;
  kernel_.on_inval = [&](uint64_t) -> Result<void> {
    if (++calls == 3) file_.drop_pages();
    return {};
  };
  const auto outcome = remove({&fsdax_}, forced());
  EXPECT_TRUE(outcome.result);
  EXPECT_EQ(calls, 3);
  EXPECT_EQ(outcome.reports.at(0).pages_left, 0u);
}

TEST_F(RemovalPagesTest, PagesThatStayMappedAreEbusyUntilTheyGo) {
  const Child child([&] { return map_three(); });
  kernel_.people = {holder_of(child)};
  const auto outcome = remove({&fsdax_}, forced());
  EXPECT_EQ(outcome.result.err(), EBUSY);
  EXPECT_NE(outcome.result.error().message.find("3 pages"), std::string::npos);
  EXPECT_FALSE(outcome.result.error().hint.empty());
  EXPECT_EQ(outcome.reports.at(0).pages_left, 3u);
  EXPECT_FALSE(outcome.reports.at(0).disabled);
  EXPECT_EQ(kernel_.calls("inval"), 4u);
  EXPECT_EQ(kernel_.calls("removed"), 0u);
  expect_live(fsdax_);
  EXPECT_EQ(fsdax_.leases().totals().ranges, 1u);
  EXPECT_TRUE(child.is_running());

  file_.drop_pages();
  EXPECT_TRUE(remove({&fsdax_}, forced()).result);
  EXPECT_TRUE(fsdax_.enable());
}

TEST_F(RemovalPagesTest, KillEndsMappersAndNobodyElse) {
  Child mapper([&] { return file_.map(pages(0, kPages), {}); });
  const Child opener([&] { return static_cast<uint64_t>(::open(file_.path().c_str(), O_RDONLY)); });
  Holder only_open;
  only_open.pid = opener.pid();
  only_open.open_files = {{ino(fsdax_, 5), "/pmem0/a", 3}};
  kernel_.people = {holder_of(mapper), only_open};
  auto options = forced();
  options.kill = true;
  const auto outcome = remove({&fsdax_}, options);
  ASSERT_TRUE(outcome.result);
  ASSERT_EQ(outcome.reports.at(0).killed, std::vector{mapper.pid()});
  EXPECT_EQ(mapper.wait_for_signal(), SIGKILL);
  EXPECT_TRUE(opener.is_running());
}

TEST_F(RemovalPagesTest, WithoutKillNobodyIsEnded) {
  const Child mapper([&] { return file_.map(pages(0, kPages), {}); });
  kernel_.people = {holder_of(mapper)};
  const auto outcome = remove({&fsdax_}, forced());
  ASSERT_TRUE(outcome.result);
  EXPECT_TRUE(outcome.reports.at(0).killed.empty());
  EXPECT_TRUE(mapper.is_running());
}

// It has unmapped since the walk, or its pid is another's by now.
TEST_F(RemovalPagesTest, WhoHasLetGoIsNotKilled) {
  const Child bystander([&] { return file_.map(pages(0, kPages), {}); });
  bool revoked = false;
  kernel_.on_inval = [&](uint64_t) -> Result<void> {
    revoked = true;
    return {};
  };
  kernel_.on_holders = [&] {
    return revoked ? std::vector<Holder>() : std::vector{holder_of(bystander)};
  };
  auto options = forced();
  options.kill = true;
  const auto outcome = remove({&fsdax_}, options);
  ASSERT_TRUE(outcome.result);
  EXPECT_EQ(outcome.reports.at(0).holders.size(), 1u);
  EXPECT_TRUE(outcome.reports.at(0).killed.empty());
  EXPECT_TRUE(bystander.is_running());
}

// It stores and syncs in a loop: the kill fails its next request, it ends, and no later look finds
// it.
TEST_F(RemovalPagesTest, WhoEndsAtTheFirstStepIsInTheReport) {
  Child mapper([&] { return map_three(); });
  const Holder mapping_it = holder_of(mapper);
  must(fsdax_.handles().add(
      {.ino = ino(fsdax_, 5), .writable = true}));  // so it is looked for twice
  kernel_.on_holders = [&] {
    if (fsdax_.state() == State::kLive) return std::vector{mapping_it};
    mapper.end();
    return std::vector<Holder>();
  };
  const auto outcome = remove({&fsdax_}, forced());
  ASSERT_TRUE(outcome.result);
  const auto& holders = outcome.reports.at(0).holders;
  ASSERT_EQ(holders.size(), 1u);
  EXPECT_EQ(holders[0].pid, mapping_it.pid);
  EXPECT_EQ(holders[0].mappings.at(0).pages_present, 3u);
  EXPECT_EQ(holders[0].fate, Holder::Fate::kEnded);
}

TEST_F(RemovalPagesTest, PagesOfWhoHasLetGoAreNotCountedAsLeft) {
  const Child mapper([&] { return map_three(); });  // what it has there now is another's
  kernel_.on_holders = [&] {
    return fsdax_.state() == State::kLive ? std::vector{holder_of(mapper)} : std::vector<Holder>();
  };
  const auto outcome = remove({&fsdax_}, forced());
  ASSERT_TRUE(outcome.result) << outcome.result.error().describe();
  EXPECT_EQ(outcome.reports.at(0).pages_left, 0u);
  EXPECT_EQ(outcome.reports.at(0).holders.at(0).fate, Holder::Fate::kLetGo);
}

TEST_F(RemovalPagesTest, WhoIsKilledHasEnded) {
  const Child mapper([&] { return map_three(); });
  kernel_.people = {holder_of(mapper)};
  kernel_.on_inval = [&](uint64_t) -> Result<void> {
    file_.drop_pages();
    return {};
  };
  auto options = forced();
  options.kill = true;
  const auto outcome = remove({&fsdax_}, options);
  ASSERT_TRUE(outcome.result);
  EXPECT_EQ(outcome.reports.at(0).holders.at(0).fate, Holder::Fate::kEnded);
  EXPECT_EQ(outcome.reports.at(0).holders.at(0).ended_by, "SIGKILL");
}

TEST_F(RemovalPagesTest, MapperOfTwoDevicesIsKilledOnce) {
  Child mapper([&] { return file_.map(pages(0, kPages), {}); });
  Holder both = holder_of(mapper);
  both.mappings.push_back(mapping(devdax_.root_ino(), "/dax1.0"));
  kernel_.people = {both};
  auto options = forced();
  options.kill = true;
  const auto outcome = remove({&fsdax_, &devdax_}, options);
  ASSERT_TRUE(outcome.result);
  ASSERT_EQ(outcome.reports.at(0).killed.size() + outcome.reports.at(1).killed.size(), 1u);
  EXPECT_EQ(mapper.wait_for_signal(), SIGKILL);
}

// The way on that the error of pages left names: it must lead somewhere.
TEST_F(RemovalPagesTest, KillEndsThoseWhosePagesCannotBeTakenAway) {
  Child mapper([&] { return map_three(); });
  kernel_.people = {holder_of(mapper)};
  auto options = forced();
  options.kill = true;
  const auto outcome = remove({&fsdax_}, options);
  ASSERT_EQ(outcome.reports.at(0).killed, std::vector{mapper.pid()});
  EXPECT_EQ(mapper.wait_for_signal(), SIGKILL);
  if (!outcome.result) {
    EXPECT_EQ(outcome.result.err(), EBUSY);
    EXPECT_TRUE(remove({&fsdax_}, forced()).result) << "its pages went with it";
  }
}

}  // namespace
}  // namespace pmemd
