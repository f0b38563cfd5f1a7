// Which daemon a run of pmemctl means, if it doesn't name a socket.
#include "cli/session/daemons.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/fsuid.h>
#include <sys/stat.h>

#include <memory>
#include <optional>

#include "cli/output/fields.h"
#include "tests/unit/cli/fake_daemon.h"

namespace pmemd::cli::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class FindDaemon : public testing::Test {
 protected:
  // A daemon with that socket in the directory `of` ("a", "b"), and with that mount.
  std::string start(const std::string& of, const std::string& name, const std::string& mount) {
    std::string socket = in(of) + "/" + name;
    daemons_.push_back(std::make_unique<FakeDaemon>(socket));
    daemons_.back()->answer("Status", {{"mount", mount}});
    return socket;
  }
  std::string in(const std::string& of) const {
    std::string path = directory_.path() + "/" + of;
    ::mkdir(path.c_str(), 0755);
    return path;
  }
  std::string found(const std::string& file = "") const {
    const auto socket = find_daemon({in("a"), in("b")}, file, -1);
    return socket ? *socket : text_of(socket.error().parameters, "message");
  }
  uint64_t error() const {
    const auto socket = find_daemon({in("a"), in("b")}, "", -1);
    return socket ? 0 : number_of(socket.error().parameters, "errno");
  }

  TemporaryDirectory directory_;
  std::vector<std::unique_ptr<FakeDaemon>> daemons_;
};

TEST_F(FindDaemon, IsTheOnlyOneThereIs) {
  const std::string only = start("b", "x.sock", "/mnt/x");
  EXPECT_EQ(found(), only);
  EXPECT_EQ(found("/proc/self"), only) << "it says itself that the file isn't its own";
  EXPECT_TRUE(daemons_.back()->calls().empty()) << "it need not be asked anything";
}

TEST_F(FindDaemon, PrefersTheFirstDirectory) {
  start("b", "x.sock", "/mnt/x");
  EXPECT_EQ(found(), start("a", "control", "/mnt/y"));
}

TEST_F(FindDaemon, OfSeveralIsTheOneWhoseMountShowsTheFile) {
  start("a", "x.sock", directory_.path());
  const std::string proc = start("b", "y.sock", "/proc");
  EXPECT_EQ(found("/proc/self/status"), proc);
  EXPECT_EQ(found(directory_.path()), in("a") + "/x.sock");
}

TEST_F(FindDaemon, SeveralAreListed) {
  const std::string x = start("a", "x.sock", "/mnt/x"), y = start("a", "y.sock", "/mnt/y");
  EXPECT_EQ(error(), EMLINK);
  EXPECT_EQ(found(), "several daemons run: " + x + " (on /mnt/x), " + y + " (on /mnt/y)");
  EXPECT_THAT(found("/proc/self"), HasSubstr("several"));
}

TEST_F(FindDaemon, DeadOnesAndOtherFilesDontCount) {
  EXPECT_EQ(error(), ENOENT);
  EXPECT_THAT(found(), AllOf(HasSubstr(in("a")), HasSubstr(in("b"))));
  start("a", "dead.sock", "/mnt/x");
  daemons_.clear();  // its socket stays
  EXPECT_EQ(error(), ENOENT);
}

TEST_F(FindDaemon, ASocketThatOthersCouldHavePlantedIsPassedOver) {
  const std::string planted = start("a", "control", "/mnt/x");
  ASSERT_EQ(::chmod(in("a").c_str(), 0777), 0);
  EXPECT_EQ(error(), ENOENT);
  ASSERT_EQ(::chmod(in("a").c_str(), 0755), 0);
  EXPECT_EQ(found(), planted);
}

TEST_F(FindDaemon, OneThatDoesntLetUsInIsNamed) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to act as another user";
  const std::string closed = start("a", "control", "/mnt/x");
  ASSERT_EQ(::chmod(directory_.path().c_str(), 0755), 0);
  ASSERT_EQ(::chmod(closed.c_str(), 0700), 0);
  ::setfsuid(12345);
  const uint64_t err = error();
  const std::string message = found();
  ::setfsuid(0);
  EXPECT_EQ(err, EACCES);
  EXPECT_EQ(message, closed + ": permission denied");
}

TEST(Instance, IsTheSocketOfTheService) {
  EXPECT_EQ(socket_of_instance("test"), "/run/pmemd/test.sock");
  std::ostringstream out, err;
  const char* argv[] = {"pmemctl", "-i", "none of that name", "status"};
  EXPECT_EQ(cli::run(4, argv, {out, err}), 1);
  EXPECT_THAT(err.str(), HasSubstr("/run/pmemd/none of that name.sock: no daemon answers"));
  const char* both[] = {"pmemctl", "-i", "a", "--socket", "/b", "status"};
  EXPECT_EQ(cli::run(6, both, {out, err}), 2);
}

}  // namespace
}  // namespace pmemd::cli::test
