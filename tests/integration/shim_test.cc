// "Must show" 7: unmodified programs, run by `pmemctl exec`, see memory fail as on hardware.
#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <csignal>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/base/units.h"
#include "tests/integration/support/control_client.h"
#include "tests/integration/support/removal_fixture.h"

namespace pmemd {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;

// si_code
constexpr int kAdrErr = 2, kActionRequired = 4, kActionOptional = 5;

std::string sigbus(int code, uint64_t offset, int lsb = 12) {
  return fmt::format("sigbus {} {} {}", code, offset, lsb);
}

class ShimTest : public RemovalTest {
 protected:
  static constexpr uint64_t kBytes = 64 * kPageSize;

  void SetUp() override {
    RemovalTest::SetUp();
    if (IsSkipped()) return;
    make_file("pmem0/a", kBytes);
    path_ = pool_.path("pmem0/a");
  }
  DaemonOptions daemon_options() const override { return {.debug_faults = true}; }

  static std::vector<std::string> with_shim(std::vector<std::string> command,
                                            std::vector<std::string> options = {}) {
    std::vector<std::string> args = {program("pmemctl"), "exec"};
    args.insert(args.end(), options.begin(), options.end());
    args.emplace_back("--");
    args.insert(args.end(), command.begin(), command.end());
    return args;
  }
  // The C program, behind the shim, with the file mapped.
  std::unique_ptr<Conversation> start_program(std::vector<std::string> options = {}) {
    auto started = std::make_unique<Conversation>(
        with_shim({program("pmemd_test_sigbus")}, std::move(options)));
    EXPECT_EQ(started->ask(fmt::format("map {} {}", path_, kBytes)), "ok");
    return started;
  }
  void poison(uint64_t page, uint64_t pages = 1) const {
    pool_.ctl_json({"inject-error", "--file", path_, "--offset", std::to_string(page * kPageSize),
                    "--length", std::to_string(pages * kPageSize)});
  }
  void rewrite(uint64_t page) const {
    const UniqueFd fd(open(path_.c_str(), O_WRONLY | O_CLOEXEC));
    const std::string bytes(kPageSize, 'n');
    ASSERT_EQ(pwrite(fd.get(), bytes.data(), bytes.size(), static_cast<off_t>(page * kPageSize)),
              static_cast<ssize_t>(kPageSize));
  }

  std::string path_;
};

TEST_F(ShimTest, ATouchOfPoisonIsActionRequiredAtItsPage) {
  const auto program = start_program();
  EXPECT_EQ(program->ask("touch 8200"), "ok");
  poison(2);
  EXPECT_EQ(program->ask("touch 8200"), sigbus(kActionRequired, 8192));
  EXPECT_EQ(program->ask("store 12287"), sigbus(kActionRequired, 8192));
  EXPECT_EQ(program->ask("thread 10000"), sigbus(kActionRequired, 8192));
  EXPECT_EQ(program->ask("touch 8191"), "ok");
  EXPECT_EQ(program->ask("touch 12288"), "ok");
  rewrite(2);
  EXPECT_EQ(program->ask("touch 8200"), "ok");
}

TEST_F(ShimTest, WithoutTheShimItIsAnAddressError) {
  Conversation program({pmemd::program("pmemd_test_sigbus")});
  EXPECT_EQ(program.ask(fmt::format("map {} {}", path_, kBytes)), "ok");
  poison(2);
  EXPECT_EQ(program.ask("touch 8200"), sigbus(kAdrErr, 8200, 0));
}

TEST_F(ShimTest, LatentPoisonIsActionRequiredFromTheFirstTouchOn) {
  turn_off_and_on();  // else the page cache has what the file was written with
  pool_.ctl_json(
      {"inject-error", "--file", path_, "--offset", "8192", "--length", "512", "--no-notify"});
  const auto program = start_program();
  EXPECT_EQ(program->ask("touch 12000"), sigbus(kActionRequired, 8192));
}

TEST_F(ShimTest, EarlyKillTellsWhoMapsIt) {
  const auto program = start_program({"--early"});
  poison(5, 3);
  EXPECT_EQ(program->ask("async"), sigbus(kActionOptional, 5 * kPageSize));
  EXPECT_EQ(program->ask(fmt::format("touch {}", 6 * kPageSize)),
            sigbus(kActionRequired, 6 * kPageSize));
}

// One after the other, as the daemon tells of them: were there a signal for the first, it would
// come before that of the second.
// A removal is told whatever the policy is, behind what was told before it: so the program has
// heard of the poison by then, and kept quiet.
TEST_F(ShimTest, ThePolicyIsTheProgramsOwn) {
  const auto program = start_program();
  poison(1);
  force_off();
  EXPECT_EQ(program->ask("async"), sigbus(kActionOptional, 0));
  turn_on();
  EXPECT_EQ(program->ask("early"), "ok");
  poison(2);
  EXPECT_EQ(program->ask("async"), sigbus(kActionOptional, 2 * kPageSize));
  EXPECT_EQ(program->ask("late"), "ok");
  poison(3);
  force_off();
  EXPECT_EQ(program->ask("async"), sigbus(kActionOptional, 0));
  EXPECT_EQ(program->ask("count"), "3");
}

TEST_F(ShimTest, ARemovalTellsEveryMapperAndThenIsAnAddressError) {
  const auto program = start_program();
  force_off();
  EXPECT_EQ(program->ask("async"), sigbus(kActionOptional, 0));
  EXPECT_EQ(program->ask("touch 5000"), sigbus(kAdrErr, 5000, 0));
  turn_on();
  EXPECT_EQ(program->ask("touch 5000"), "ok");
  poison(1);
  EXPECT_EQ(program->ask("touch 5000"), sigbus(kActionRequired, 4096));
}

// --- profiles: the namespace says how a kernel behaves

class ShimProfileTest : public ShimTest {
 protected:
  void configure(const std::string& what) const {
    pool_.ctl_json({"configure", "namespace0.0", what});
  }
};

TEST_F(ShimProfileTest, Before65TheSecondTouchIsAnAddressError) {
  configure("--profile=before-6.5");
  const auto program = start_program();
  poison(2, 2);
  EXPECT_EQ(program->ask("touch 8200"), sigbus(kActionRequired, 8192));
  EXPECT_EQ(program->ask("touch 8200"), sigbus(kAdrErr, 8200, 0));
  EXPECT_EQ(program->ask("touch 12288"), sigbus(kActionRequired, 12288)) << "another page";
  EXPECT_EQ(program->ask("touch 12288"), sigbus(kAdrErr, 12288, 0));
  EXPECT_EQ(program->ask("early"), "ok");
  rewrite(2);
  EXPECT_EQ(program->ask("touch 8200"), "ok");
  poison(5);  // its event comes after that of the clearing
  EXPECT_EQ(program->ask("async"), sigbus(kActionOptional, 5 * kPageSize));
  poison(2);
  EXPECT_EQ(program->ask("touch 8200"), sigbus(kActionRequired, 8192)) << "new poison";
}

TEST_F(ShimProfileTest, TheNamespaceSaysWhatThoseGetWhoSayNothing) {
  configure("kill=early");
  const auto program = start_program();
  poison(2);
  EXPECT_EQ(program->ask("async"), sigbus(kActionOptional, 8192));
}

TEST_F(ShimProfileTest, WithoutAHolderARemovalSendsNoSignal) {
  configure("holder=no");
  const auto program = start_program({"--early"});
  force_off();
  EXPECT_EQ(program->ask("touch 5000"), sigbus(kAdrErr, 5000, 0));
  turn_on();
  configure("holder=yes");
  EXPECT_EQ(program->ask("touch 5000"), "ok");
  EXPECT_EQ(program->ask("count"), "0");
}

TEST_F(ShimTest, TheDefaultActionEndsIt) {
  auto program = start_program({"--early"});
  EXPECT_EQ(program->ask("default"), "ok");
  poison(1);
  EXPECT_EQ(program->process().wait(), 128 + SIGBUS);
  program = start_program();
  EXPECT_EQ(program->ask("default"), "ok");
  program->send("touch 4096");
  EXPECT_EQ(program->process().wait(), 128 + SIGBUS);
  program = start_program({"--early"});
  EXPECT_EQ(program->ask("ignore"), "ok");
  poison(3);
  EXPECT_EQ(program->ask("touch 0"), "ok");
  program->send("touch 4096");
  EXPECT_EQ(program->process().wait(), 128 + SIGBUS);
}

TEST_F(ShimTest, RegistrationsFollowTheMappings) {
  const auto program = start_program();
  const auto mappings = [this] {
    std::vector<std::pair<uint64_t, uint64_t>> ranges;
    const Json refs = pool_.ctl_json({"refs", "namespace0.0"});
    for (const Json& each : refs.at("references")) {
      if (each.at("kind") != "mapping") continue;
      ranges.emplace_back(each.at("offset").get<uint64_t>() / kPageSize,
                          each.at("length").get<uint64_t>() / kPageSize);
    }
    std::ranges::sort(ranges);
    return ranges;
  };
  using Ranges = std::vector<std::pair<uint64_t, uint64_t>>;
  EXPECT_EQ(mappings(), (Ranges{{0, 64}}));
  EXPECT_EQ(program->ask(fmt::format("unmap {} {}", 10 * kPageSize, 4 * kPageSize)), "ok");
  EXPECT_EQ(mappings(), (Ranges{{0, 10}, {14, 50}}));
  poison(20);
  EXPECT_EQ(program->ask(fmt::format("touch {}", 20 * kPageSize)),
            sigbus(kActionRequired, 20 * kPageSize));
  EXPECT_EQ(program->ask(fmt::format("unmap 0 {}", kBytes)), "ok");
  EXPECT_EQ(mappings(), Ranges{});
  const Json refs = pool_.ctl_json({"refs", "namespace0.0"});
  EXPECT_EQ(refs.at("mappings"), 0);
}

// --- a mapping that waits for its memory: a READ that stalls

class ShimStallTest : public ShimTest {
 protected:
  ~ShimStallTest() override {
    if (control_) (void)control_->call("ClearFaults");
  }
  void SetUp() override {
    ShimTest::SetUp();
    if (IsSkipped()) return;
    control_.emplace(pool_.socket());
  }
  // The next READ stalls.
  void stall() {
    turn_off_and_on();  // nothing is in the page cache
    stall_at(*control_, "read.begin");
  }

  std::optional<ControlClient> control_;
};

TEST_F(ShimStallTest, ASignalEndsAProgramWhoseMmapWaits) {
  for (const int number : {SIGTERM, SIGALRM}) {
    stall();
    Conversation program(with_shim({pmemd::program("pmemd_test_sigbus")}));
    program.send(fmt::format("map {} {} populate", path_, kBytes));
    wait_until_stalled(*control_, "read.begin");
    program.process().signal(number);
    EXPECT_EQ(program.process().wait(), 128 + number);
    ASSERT_TRUE(control_->call("ClearFaults").done());
  }
}

TEST_F(ShimStallTest, OthersMapAndForkWhileOneThreadsMmapWaits) {
  make_file("pmem0/b", kBytes);
  stall();
  Conversation program(with_shim({pmemd::program("pmemd_test_sigbus")}));
  EXPECT_EQ(program.ask(fmt::format("background {} {}", path_, kBytes)), "ok");
  wait_until_stalled(*control_, "read.begin");
  EXPECT_EQ(program.ask(fmt::format("map {} {}", pool_.path("pmem0/b"), kBytes)), "ok");
  EXPECT_EQ(program.ask("child 0"), "ok");
  EXPECT_EQ(program.ask(fmt::format("unmap {} {}", 4 * kPageSize, 4 * kPageSize)), "ok");
  pool_.ctl_json(
      {"inject-error", "--file", pool_.path("pmem0/b"), "--offset", "8192", "--length", "4096"});
  EXPECT_EQ(program.ask("touch 8200"), sigbus(kActionRequired, 8192));
  ASSERT_TRUE(control_->call("ClearFaults").done());
  EXPECT_EQ(program.ask("join"), "ok");
}

TEST_F(ShimTest, AChildSeesItAsWithoutTheShim) {
  const auto program = start_program();
  poison(2);
  EXPECT_EQ(program->ask("child 8200"), sigbus(kAdrErr, 8200, 0));
  EXPECT_EQ(program->ask("touch 8200"), sigbus(kActionRequired, 8192));
}

TEST_F(ShimTest, MapSyncWorksOnPersistentMemory) {
  Conversation plain({program("pmemd_test_sigbus")});
  EXPECT_EQ(plain.ask(fmt::format("map {} {} sync", path_, kBytes)), "error EOPNOTSUPP");
  Conversation shimmed(with_shim({program("pmemd_test_sigbus")}));
  EXPECT_EQ(shimmed.ask(fmt::format("map {} {} sync", path_, kBytes)), "ok");
  EXPECT_EQ(shimmed.ask(fmt::format("map {} 4096 sync", pool_.path("dax0.1"))), "ok");
  write_file(pool_.directory() + "/elsewhere", "x");
  EXPECT_EQ(shimmed.ask(fmt::format("map {}/elsewhere 1 sync", pool_.directory())),
            "error EOPNOTSUPP");
}

TEST_F(ShimTest, Libpmem2GetsCacheLineGranularity) {
  write_file(pool_.path("pmem0/pool"), std::string(8 * kMiB, '\0'));
  const std::vector<std::string> command = {program("pmemd_test_pmem2"), pool_.path("pmem0/pool")};
  EXPECT_EQ(run_ok(command), "page\n");
  EXPECT_EQ(run_ok(with_shim(command)), "cache line\n");
  EXPECT_EQ(run_ok(with_shim({program("pmemd_test_pmem2"), pool_.path("dax0.1")})), "cache line\n");
}

class PythonShimTest : public ShimTest {
 protected:
  void SetUp() override {
    ShimTest::SetUp();
    if (IsSkipped()) return;
    if (run({"python3", "-c", "import mmap, ctypes"}).code != 0) GTEST_SKIP() << "no python3";
  }
  std::unique_ptr<Conversation> start_python(const std::string& mode) const {
    auto started = std::make_unique<Conversation>(
        with_shim({"python3", PMEMD_SOURCE_DIR "/tests/integration/programs/sigbus_program.py",
                   mode, path_, std::to_string(3 * kPageSize + 5)}));
    EXPECT_NE(started->receive(), "gone");
    return started;
  }
};

TEST_F(PythonShimTest, ATouchOfItsMmapIsActionRequired) {
  const auto python = start_python("ar");
  poison(3);
  EXPECT_EQ(python->ask("now"), fmt::format("{} {} 12", kActionRequired, 3 * kPageSize));
}

TEST_F(PythonShimTest, EarlyKillReachesSigwaitinfo) {
  const auto python = start_python("ao");
  poison(3);
  EXPECT_EQ(python->receive(), std::to_string(kActionOptional));
  EXPECT_EQ(python->process().wait(), 0);
}

// --- sanitizers

struct Sanitized {
  std::string compiler, sanitizer;
  std::string report;  // of a SIGBUS; empty: none, it dies of it
};

class SanitizedShimTest : public ShimTest, public ::testing::WithParamInterface<Sanitized> {
 protected:
  void SetUp() override {
    ShimTest::SetUp();
    if (IsSkipped()) return;
    program_ = pool_.directory() + "/sanitized";
    const Output built =
        run({GetParam().compiler, "-g", "-O1", "-pthread", "-fsanitize=" + GetParam().sanitizer,
             PMEMD_SOURCE_DIR "/tests/integration/programs/sanitized_program.c", "-o", program_});
    if (built.code != 0) GTEST_SKIP() << "can't be built: " << built.err;
    const Output alone = run({program_, path_, "0"});
    if (alone.code != 0) GTEST_SKIP() << "doesn't run on this kernel: " << alone.out;
  }
  // What it prints when it touches the byte, as `exec` runs it, or a shell below.
  Output touch(uint64_t offset, bool below_a_shell = false) const {
    std::vector<std::string> command = {program_, path_, std::to_string(offset)};
    if (below_a_shell) command.insert(command.begin(), {"sh", "-c", "\"$@\"; exit $?", "sh"});
    const std::string options = "symbolize=0:handle_sigbus=1";
    return run(with_shim(command), {.env = {"ASAN_OPTIONS=" + options, "TSAN_OPTIONS=" + options,
                                            "MSAN_OPTIONS=" + options, "LSAN_OPTIONS=" + options,
                                            "UBSAN_OPTIONS=" + options}});
  }

  std::string program_;
};

TEST_P(SanitizedShimTest, RunsWithoutAReport) {
  for (const bool below_a_shell : {false, true}) {
    const Output output = touch(0, below_a_shell);
    EXPECT_EQ(output.code, 0) << output.out << output.err;
    // Its children are to have the shim alone.
    EXPECT_THAT(output.out, MatchesRegex("mapped\n[^:]*/libpmemd-shim.so\n"));
  }
}

TEST_P(SanitizedShimTest, ReportsTheTouchOfPoison) {
  poison(2);
  for (const bool below_a_shell : {false, true}) {
    const Output output = touch(8200, below_a_shell);
    EXPECT_THAT(output.out, HasSubstr("mapped\n"));
    EXPECT_THAT(output.out, HasSubstr(GetParam().report));
    EXPECT_NE(output.code, 0);
  }
}

INSTANTIATE_TEST_SUITE_P(
    , SanitizedShimTest,
    ::testing::Values(Sanitized{"gcc", "address", "AddressSanitizer: BUS"},
                      Sanitized{"gcc", "thread", "ThreadSanitizer: BUS"},
                      Sanitized{"gcc", "leak", "LeakSanitizer: BUS"},
                      Sanitized{"gcc", "undefined", ""},
                      Sanitized{"clang", "address", "AddressSanitizer: BUS"},
                      Sanitized{"clang", "thread", "ThreadSanitizer: BUS"},
                      Sanitized{"clang", "memory", "MemorySanitizer: BUS"},
                      Sanitized{"clang", "undefined", "UndefinedBehaviorSanitizer: BUS"}),
    [](const auto& tested) { return tested.param.compiler + "_" + tested.param.sanitizer; });

TEST_F(ShimTest, ValgrindReportsNothingOfIt) {
  if (run({"valgrind", "--version"}).code != 0) GTEST_SKIP() << "no valgrind";
  const std::vector<std::vector<std::string>> tools = {
      {"--leak-check=full", "--show-leak-kinds=all", "--errors-for-leak-kinds=all"},
      {"--tool=helgrind"},
      {"--tool=drd"}};
  for (const auto& tool : tools) {
    std::vector<std::string> command = {"valgrind", "-q", "--error-exitcode=9",
                                        "--suppressions=" PMEMD_SOURCE_DIR "/client/valgrind.supp"};
    command.insert(command.end(), tool.begin(), tool.end());
    command.push_back(program("pmemd_test_sigbus"));
    const Output output =
        run(with_shim(command),
            {.in = fmt::format("map {} {}\ntouch 0\nunmap 0 {}\n", path_, kBytes, kPageSize)});
    EXPECT_EQ(output.code, 0) << output.err;
    EXPECT_EQ(output.out, "ok\nok\nok\n");
  }
}

TEST_F(ShimTest, ExecTellsWhatItCanNotDo) {
  EXPECT_EQ(run(with_shim({"sh", "-c", "exit 7"})).code, 7);
  const Output missing = run(with_shim({"/nonexistent/program"}));
  EXPECT_EQ(missing.code, 127);
  EXPECT_THAT(missing.err, HasSubstr("/nonexistent/program: No such file or directory"));
  EXPECT_EQ(run(with_shim({"/etc/passwd"})).code, 126);
  const Output no_shim = run(with_shim({"true"}), {.env = {"PMEMD_SHIM=/nonexistent/shim.so"}});
  EXPECT_EQ(no_shim.code, 125);
  EXPECT_THAT(no_shim.err, HasSubstr("/nonexistent/shim.so"));
  EXPECT_EQ(run({program("pmemctl"), "exec"}).code, 2);
  EXPECT_EQ(run({program("pmemctl"), "exec", "--early", "--late", "--", "true"}).code, 2);
}

TEST_F(ShimTest, ExecKeepsWhatIsPreloadedAlready) {
  const std::string printed =
      run_ok(with_shim({"env"}), {.env = {"LD_PRELOAD=/nonexistent/other.so"}});
  EXPECT_THAT(printed, HasSubstr("libpmemd-shim.so:/nonexistent/other.so\n"));
}

}  // namespace
}  // namespace pmemd
