// What pmemctl tells of bad memory, finds by scrubs, configures, and keeps of events.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <string>

#include "core/base/unique_fd.h"
#include "core/base/units.h"
#include "tests/integration/support/control_client.h"
#include "tests/integration/support/harness.h"

namespace pmemd {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using namespace std::string_literals;

class MediaVerbsTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    pool_.start();
    pool_.make_two_namespaces();
  }
  std::string printed(std::vector<std::string> args) {
    const Output output = pool_.ctl(std::move(args));
    EXPECT_EQ(output.code, 0) << output.err;
    return output.out;
  }
  int failed(std::vector<std::string> args, std::string* why = nullptr) {
    const Output output = pool_.ctl(std::move(args));
    if (why != nullptr) *why = output.err;
    return output.code;
  }
  // The events that are kept, from `since` on; "missed" among them.
  std::vector<Json> events(std::vector<std::string> options) {
    std::vector<std::string> args = {"--json", "monitor", "--no-follow"};
    args.insert(args.end(), options.begin(), options.end());
    std::istringstream lines(printed(std::move(args)));
    std::vector<Json> all;
    for (std::string line; std::getline(lines, line);) all.push_back(Json::parse(line));
    return all;
  }
  static std::vector<std::string> kinds_of(const std::vector<Json>& events) {
    std::vector<std::string> kinds;
    for (const Json& event : events) kinds.push_back(event.value("kind", "missed"));
    return kinds;
  }
  Json namespace_listed(const std::string& name, const std::string& options = "-M") {
    for (const Json& space : as_array(pool_.ctl_json({"list", options}))) {
      if (space.at("dev") == name) return space;
    }
    return {};
  }

  TestPool pool_{Storage::kMemory};
};

TEST_F(MediaVerbsTest, BadBlocksAreShownRelativeToWhatIsListed) {
  EXPECT_FALSE(namespace_listed("namespace0.0").contains("badblock_count"));
  EXPECT_EQ(printed({"badblocks", "region0"}), "");
  printed({"inject-error", "namespace0.1", "--block", "12", "--count", "2"});
  const Json listed = namespace_listed("namespace0.1");
  EXPECT_EQ(listed.at("badblock_count"), 2);
  EXPECT_EQ(listed.at("badblocks"), Json::parse(R"([{"offset":12,"length":2,"dimms":["nmem0"]}])"));
  EXPECT_FALSE(namespace_listed("namespace0.0").contains("badblock_count"));
  EXPECT_EQ(printed({"badblocks", "namespace0.1"}), "12 2\n");
  // namespace0.1 lies behind 128 MiB, and has 2 MiB of metadata.
  const uint64_t sector = (130 * kMiB) / 512 + 12;
  EXPECT_EQ(printed({"badblocks", "region0"}), std::to_string(sector) + " 2\n");
  const Json bus = pool_.ctl_json({"list", "-RNBXM", "--idle"});
  EXPECT_EQ(bus.at("regions").at(0).at("badblocks").at(0).at("offset"), sector);
  for (const Json& space : bus.at("regions").at(0).at("namespaces")) {
    EXPECT_EQ(space.contains("daxregion"), space.at("mode") == "devdax");
  }
  EXPECT_EQ(pool_.ctl_json({"inject-error", "namespace0.1", "--status"}),
            Json::parse(R"({"badblocks":[{"block":12,"count":2}],"omitted":0})"));
  // More than a line of the kernel's table holds.
  printed({"inject-error", "namespace0.1", "--block", "1000", "--count", "1025"});
  EXPECT_EQ(printed({"badblocks", "namespace0.1"}), "12 2\n1000 512\n1512 512\n2024 1\n");
  printed({"clear-errors", "namespace0.1"});
  EXPECT_EQ(printed({"badblocks", "namespace0.1"}), "");
  std::string why;
  EXPECT_EQ(failed({"badblocks", "region7"}, &why), 1);
  EXPECT_THAT(why, HasSubstr("region7"));
}

TEST_F(MediaVerbsTest, RandomPlacesAreThoseOfTheirSeed) {
  write_file(pool_.path("pmem0/a"), std::string(64 * kPageSize, 'a'));
  const auto injected = [&](const std::string& seed) {
    const std::string file = pool_.path("pmem0/a");
    printed({"inject-error", "--file", file, "--random", "5", "--seed", seed});
    const std::string blocks = printed({"badblocks", "namespace0.0"});
    printed({"clear-errors", "--file", file});
    return blocks;
  };
  const std::string of_seven = injected("7");
  EXPECT_EQ(std::ranges::count(of_seven, '\n'), 5) << "unless two are neighbours: " << of_seven;
  EXPECT_EQ(injected("7"), of_seven);
  EXPECT_NE(injected("8"), of_seven);
  EXPECT_EQ(failed({"inject-error", "--file", pool_.path("pmem0/a"), "--random", "65"}), 1);
}

TEST_F(MediaVerbsTest, WildcardsMeanEachFileThatFits) {
  for (const char* name : {"db1", "db2", "other"}) {
    write_file(pool_.path("pmem0/") + name, std::string(kPageSize, 'a'));
  }
  const Json reports = as_array(
      pool_.ctl_json({"inject-error", "--file", pool_.path("pmem0/db*"), "--length", "4K"}));
  std::vector<std::string> files;
  for (const Json& report : reports) files.push_back(report.at("files").at(0).at("file"));
  EXPECT_EQ(files, (std::vector<std::string>{"/pmem0/db1", "/pmem0/db2"}));
  std::string why;
  EXPECT_EQ(failed({"inject-error", "--file", pool_.path("pmem0/x*"), "--length", "4K"}, &why), 1);
  EXPECT_THAT(why, HasSubstr("x*: there is no such file"));
}

// All space is taken, then every other page is free: a file of these pages has an extent each.
TEST_F(MediaVerbsTest, AFileInManyExtentsFailsAsOneListOfRanges) {
  constexpr uint64_t kExtents = 64;
  {
    const UniqueFd filler(open(pool_.path("pmem0/filler").c_str(), O_CREAT | O_RDWR, 0600));
    for (const uint64_t bytes : {kMiB, kPageSize}) {
      const std::string piece(bytes, 'f');
      while (write(filler.get(), piece.data(), piece.size()) > 0) {
      }
      ASSERT_EQ(errno, ENOSPC);
    }
    for (uint64_t i = 0; i < kExtents; ++i) {
      ASSERT_EQ(fallocate(filler.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                          static_cast<off_t>(2 * i * kPageSize), kPageSize),
                0);
    }
  }
  const std::string path = pool_.path("pmem0/a");
  write_file(path, std::string(kExtents * kPageSize, 'a'));
  const std::vector<std::string> whole = {"inject-error", "--file", path, "--dry-run"};
  ASSERT_EQ(as_array(pool_.ctl_json(whole)).at(0).at("ranges").size(), kExtents);
  const auto before = events({}).back().at("seq").get<uint64_t>();
  const Json reports = as_array(pool_.ctl_json({"inject-error", "--file", path}));
  ASSERT_EQ(reports.size(), 1u);
  EXPECT_EQ(reports[0].at("ranges").size(), kExtents);
  EXPECT_EQ(reports[0].at("bad_bytes"), kExtents * kPageSize);
  ASSERT_EQ(reports[0].at("files").size(), 1u) << "the file's range is one";
  EXPECT_EQ(reports[0].at("files").at(0).at("length"), kExtents * kPageSize);
  const auto told = events({"--since", std::to_string(before), "--file", "/pmem0/a"});
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].at("file_length"), kExtents * kPageSize);
  EXPECT_EQ(as_array(pool_.ctl_json({"clear-errors", "--file", path})).at(0).at("cleared_bytes"),
            kExtents * kPageSize);
  EXPECT_EQ(read_file(path), std::string(kExtents * kPageSize, '\0'));
}

// One file, by each name that it has, for each verb that takes one; and as the others print it.
TEST_F(MediaVerbsTest, EachVerbTakesAndPrintsTheSameNamesOfFiles) {
  const std::string path = pool_.path("pmem0/dir/a");
  std::filesystem::create_directory(pool_.path("pmem0/dir"));
  write_file(path, std::string(4 * kPageSize, 'a'));
  const UniqueFd open_file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  const auto parse = [&](std::vector<std::string> args) { return as_array(pool_.ctl_json(args)); };
  const std::string printed_name = parse({"mappers"}).at(0).at("open_files").at(0).at("file");
  EXPECT_EQ(printed_name, "/pmem0/dir/a");
  uint64_t rounds = 0;
  for (const std::string& name : {path, printed_name, "namespace0.0:/dir/a"s}) {
    SCOPED_TRACE(name);
    EXPECT_EQ(parse({"inject-error", "--file", name, "--length", "4K"}).at(0).at("bad_bytes"),
              4096);
    EXPECT_EQ(parse({"clear-errors", "--file", name}).at(0).at("cleared_bytes"), 4096);
    printed({"inject-error", "--file", name, "--uninject"});
    EXPECT_EQ(parse({"prefault", name}).at(0).at("bytes"), 4 * kPageSize);
    EXPECT_EQ(parse({"refs", "--file", name}).at(0).at("handles"), 1);
    EXPECT_EQ(events({"--file", name, "-k", "poison"}).size(), ++rounds);
    ControlClient client(pool_.socket());
    EXPECT_EQ(
        client.call("InjectError", {{"file", name}, {"length", 512}, {"dry_run", true}}).err(), 0);
    printed({"destroy-namespace", "0.1", "--force"});
    pool_.ctl_json({"create-namespace", "--size", "16M"});
  }
  for (const std::string& name : {pool_.path("pmem0/d*/a"), "/pmem0/d*/?"s, "namespace0.0:/*/a"s}) {
    EXPECT_EQ(parse({"inject-error", "--file", name, "--dry-run"}).at(0).at("files").size(), 1u)
        << name;
  }
  std::string why;
  EXPECT_EQ(failed({"monitor", "--file", "/proc/self/maps", "--no-follow"}, &why), 1);
  EXPECT_THAT(why, HasSubstr("not in the mount"));
  EXPECT_EQ(failed({"monitor", "--file", "a*", "--no-follow"}, &why), 1);
  EXPECT_THAT(why, HasSubstr("a*: not in the mount"));
  EXPECT_EQ(failed({"monitor", "-n", "nope", "--no-follow"}, &why), 1);
  EXPECT_THAT(why, HasSubstr("nope"));
  EXPECT_EQ(failed({"refs", "namespace0.1", "--file", path}, &why), 1);
  EXPECT_THAT(why, HasSubstr("not in namespace0.1"));
}

TEST_F(MediaVerbsTest, FilesOfADisabledNamespaceAreNotEnabledRatherThanNotThere) {
  write_file(pool_.path("pmem0/a"), std::string(kPageSize, 'a'));
  printed({"disable-namespace", "0.0"});
  for (const std::string& name : {pool_.path("pmem0/a"), "/pmem0/a"s, "namespace0.0:/a"s}) {
    std::string why;
    EXPECT_EQ(failed({"inject-error", "--file", name}, &why), 1);
    EXPECT_THAT(why, HasSubstr("namespace0.0 is not enabled")) << name;
  }
}

// What the command line refuses, the socket does.
TEST_F(MediaVerbsTest, TheSocketHasTheRulesOfTheCommandLine) {
  ControlClient client(pool_.socket());
  const Json name = {{"namespace", "namespace0.0"}};
  for (const char* const flag : {"surprise", "kill", "abandon"}) {
    Json parameters = name;
    parameters[flag] = true;
    const auto reply = client.call("DisableNamespace", parameters);
    EXPECT_EQ(reply.err(), EINVAL) << flag;
    EXPECT_THAT(reply.message(), HasSubstr("only with force"));
  }
  EXPECT_EQ(client
                .call("DisableNamespace",
                      {{"namespace", "namespace0.0"}, {"force", true}, {"wait_ms", 1}})
                .err(),
            EINVAL);
  EXPECT_EQ(client.call("InjectError", {{"namespace", "namespace0.0"}, {"file", "/pmem0/a"}}).err(),
            EINVAL);
  EXPECT_FALSE(namespace_listed("namespace0.0").contains("state")) << "enabled still";
}

TEST_F(MediaVerbsTest, ANamespaceThatFailedWholeCanBeDestroyedAndCreatedAnew) {
  const uint64_t size = namespace_listed("namespace0.0").at("size");
  printed({"inject-error", "namespace0.0", "--offset", "0", "--length", std::to_string(size)});
  printed({"destroy-namespace", "namespace0.0", "--force"});
  printed({"create-namespace"});
  write_file(pool_.path("pmem0/a"), std::string(kMiB, 'a'));
  EXPECT_EQ(read_file(pool_.path("pmem0/a")), std::string(kMiB, 'a'));
}

// Until it is written back no memory of the namespace has it: it would be spared.
TEST_F(MediaVerbsTest, AnErrorOfTheNamespaceReachesWhatWasStoredIntoAHole) {
  const std::string path = pool_.path("pmem0/hole");
  write_file(path, "");
  ASSERT_EQ(truncate(path.c_str(), 16 * kPageSize), 0);
  const UniqueFd fd(open(path.c_str(), O_RDWR | O_CLOEXEC));
  void* const memory =
      mmap(nullptr, 16 * kPageSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  ASSERT_NE(memory, MAP_FAILED);
  static_cast<volatile char*>(memory)[3 * kPageSize] = 77;
  const std::string size =
      std::to_string(namespace_listed("namespace0.0").at("size").get<int64_t>());
  const Json report =
      as_array(pool_.ctl_json({"inject-error", "namespace0.0", "--offset", "0", "--length", size}))
          .at(0);
  bool is_hit = false;
  for (const Json& file : report.at("files")) is_hit |= file.at("file") == "/pmem0/hole";
  EXPECT_TRUE(is_hit) << report.dump();
  EXPECT_FALSE(report.at("holders").empty());
  char byte = 0;
  EXPECT_EQ(pread(fd.get(), &byte, 1, 3 * kPageSize), -1);
  EXPECT_EQ(errno, EIO);
  munmap(memory, 16 * kPageSize);
}

TEST_F(MediaVerbsTest, ADryRunTellsWhoWouldBeHitWithWhichSignal) {
  const std::string path = pool_.path("pmem0/a");
  write_file(path, std::string(4 * kPageSize, 'a'));
  const UniqueFd fd(open(path.c_str(), O_RDWR));
  void* const memory = mmap(nullptr, 4 * kPageSize, PROT_READ, MAP_SHARED, fd.get(), 0);
  ASSERT_NE(memory, MAP_FAILED);
  const Json report = pool_.ctl_json(
      {"inject-error", "--file", path, "--offset", "4K", "--length", "4K", "--dry-run"});
  const Json& holder = report.at("holders").at(0);
  EXPECT_EQ(holder.at("pid"), getpid());
  EXPECT_EQ(holder.at("signal"), "SIGBUS");
  EXPECT_EQ(holder.at("code_with_client"), "BUS_MCEERR_AR");
  EXPECT_EQ(printed({"badblocks", "namespace0.0"}), "");
  EXPECT_EQ(read_file(path), std::string(4 * kPageSize, 'a')) << "nothing was done";
  munmap(memory, 4 * kPageSize);
}

TEST_F(MediaVerbsTest, AScrubFindsWhatNobodyKnowsAndTellsIt) {
  write_file(pool_.path("pmem0/a"), std::string(8 * kPageSize, 'a'));
  printed({"inject-error", "--file", pool_.path("pmem0/a"), "--offset", "8K", "--length", "4K",
           "--no-notify"});
  EXPECT_EQ(printed({"badblocks", "namespace0.0"}), "");
  // At this rate it would take a day.
  printed({"start-scrub", "namespace0.0", "--rate", "1K"});
  std::string why;
  EXPECT_EQ(failed({"start-scrub"}, &why), 1);
  EXPECT_THAT(why, HasSubstr("a scrub is under way (pmemctl wait-scrub region0)"));
  pool_.stop();  // nor does the end wait for it
  pool_.start({.create = ""});

  const Json begun = pool_.ctl_json({"start-scrub", "region0"});
  EXPECT_EQ(begun.at("provider"), "pmemd");
  const Json done = pool_.ctl_json({"wait-scrub", "namespace0.0"});
  EXPECT_EQ(done.at("scrub_state"), "idle");
  EXPECT_EQ(done.at("scrubs").at(0).at("found"), 4096);
  const auto told = events({"--kind", "poison", "--kind", "scrub"});
  ASSERT_GE(told.size(), 3);
  EXPECT_EQ(told.back().at("kind"), "scrub");
  const auto of_file = events({"--file", "/pmem0/a", "--kind", "poison"});
  ASSERT_EQ(of_file.size(), 1);
  EXPECT_EQ(of_file[0].at("kind"), "poison");
  EXPECT_EQ(of_file[0].at("file_offset"), 8192);
  EXPECT_EQ(of_file[0].at("file_length"), 4096);
  EXPECT_TRUE(events({"--file", "namespace0.0:/b", "--kind", "poison"}).empty());
  // What befalls the whole namespace befalls each file.
  EXPECT_THAT(kinds_of(events({"--file", "/pmem0/a"})), Contains("removed"));
  EXPECT_EQ(kinds_of(events({"--file", "/pmem0/a"})).back(), "poison");
  EXPECT_EQ(failed({"start-scrub", "namespace0.0", "--block", "999999999"}), 1);
}

TEST_F(MediaVerbsTest, EventsLastOverAStopAndAKill) {
  const auto before = events({"--since", "0"});
  ASSERT_FALSE(before.empty());
  EXPECT_EQ(kinds_of(before).back(), "enabled");
  const uint64_t last = before.back().at("seq");
  EXPECT_EQ(events({"--since", std::to_string(last - 1)}).size(), 1);
  EXPECT_TRUE(events({"--since", std::to_string(last)}).empty());

  pool_.stop();
  pool_.start({.create = ""});
  auto all = events({});
  EXPECT_EQ(std::vector(all.begin(), all.begin() + static_cast<long>(before.size())), before);
  EXPECT_EQ(all[before.size()].at("seq"), last + 1) << "no gap after an orderly end";

  pool_.kill9();
  pool_.start({.create = ""});
  const auto after = events({});
  ASSERT_GE(after.size(), all.size());
  EXPECT_EQ(std::vector(after.begin(), after.begin() + static_cast<long>(all.size())), all);
  for (size_t i = 1; i < after.size(); ++i) {
    EXPECT_GT(after[i].at("seq"), after[i - 1].at("seq"));
  }
  EXPECT_EQ(kinds_of(events({"--kind", "created", "--namespace", "namespace0.1"})),
            std::vector<std::string>({"created"}));
  EXPECT_EQ(failed({"monitor", "--kind", "earthquake"}), 1);
}

TEST_F(MediaVerbsTest, SettingsLastAndTakeEffect) {
  const Json shown = pool_.ctl_json({"configure", "namespace0.1"});
  EXPECT_EQ(shown.at("settings").size(), 7);
  printed({"configure", "namespace0.1", "--profile", "6.1", "clear-unit=4096"});
  std::string why;
  EXPECT_EQ(failed({"configure", "namespace0.1", "kill=soon"}, &why), 1);
  EXPECT_THAT(why, HasSubstr("none of late, early"));
  pool_.stop();
  pool_.start({.create = ""});
  const auto value = [&](const std::string& name) {
    const Json all = pool_.ctl_json({"configure", "namespace0.1"});
    for (const Json& setting : all.at("settings")) {
      if (setting.at("name") == name) return setting.at("value").get<std::string>();
    }
    return std::string();
  };
  EXPECT_EQ(value("refault"), "adrerr");
  EXPECT_EQ(value("clear-unit"), "4096");
  EXPECT_EQ(value("kill"), "late");

  // Of a live device: what can't be cleared can't, until it can.
  printed({"configure", "namespace0.1", "clearable=no"});
  printed({"inject-error", "namespace0.1", "--block", "0"});
  EXPECT_EQ(failed({"clear-errors", "namespace0.1"}), 1);
  printed({"configure", "namespace0.1", "clearable=yes"});
  EXPECT_EQ(failed({"clear-errors", "namespace0.1"}), 0);
}

TEST_F(MediaVerbsTest, AnErrorMayWaitForItsMoment) {
  const std::string path = pool_.path("pmem0/a");
  write_file(path, std::string(8 * kPageSize, 'a'));
  const UniqueFd fd(open(path.c_str(), O_RDWR | O_DIRECT | O_CLOEXEC));
  alignas(kPageSize) static char page[kPageSize];
  const auto read_errno = [&](off_t offset) {
    return pread(fd.get(), page, sizeof(page), offset) == sizeof(page) ? 0 : errno;
  };
  const auto arm = [&](const std::string& offset, std::vector<std::string> when) {
    std::vector<std::string> args = {"inject-error", "--file",   path, "--offset",
                                     offset,         "--length", "4K"};
    args.insert(args.end(), when.begin(), when.end());
    return pool_.ctl_json(args);
  };
  EXPECT_EQ(arm("0", {"--nth", "2", "--on", "read"}).at("nth"), 2);
  EXPECT_EQ(read_errno(0), 0);
  EXPECT_EQ(pool_.ctl_json({"inject-error", "namespace0.0", "--status"}).at("armed").size(), 1);
  EXPECT_EQ(read_errno(0), EIO);
  EXPECT_EQ(read_errno(4096), 0);

  arm("4K", {"--on", "write"});
  EXPECT_EQ(pwrite(fd.get(), page, sizeof(page), 4096), ssize_t{sizeof(page)});
  EXPECT_EQ(read_errno(4096), EIO) << "gone bad when it was written";

  arm("8K", {"--on", "any"});
  printed({"inject-error", "--file", path, "--offset", "8K", "--length", "4K", "--uninject"});
  EXPECT_EQ(read_errno(8192), 0);

  EXPECT_EQ(failed({"inject-error", "namespace0.0", "--block", "0", "--on", "sunday"}), 2);
  EXPECT_EQ(failed({"inject-error", "namespace0.0", "--block", "0", "--nth", "0"}), 2);
  EXPECT_EQ(failed({"inject-error", "namespace0.0", "--block", "0", "--nth", "1", "--after=1s"}),
            2);
}

// Who may only tell, may look and not touch.
TEST_F(MediaVerbsTest, OthersMayLookAndNotTouch) {
  if (geteuid() != 0) GTEST_SKIP() << "only root has others";
  chmod(pool_.directory().c_str(), 0755);
  chmod(pool_.socket().c_str(), 0666);
  const Output refused = run(pool_.ctl_args({"configure", "namespace0.1", "kill=early"}),
                             {.before_exec = [] { (void)!setuid(65534); }});
  EXPECT_EQ(refused.code, 1);
  EXPECT_THAT(refused.err, HasSubstr("permission denied"));
}

}  // namespace
}  // namespace pmemd
