// prefault: the daemon does a piece a call, pmemctl asks for the next one.
#include <fcntl.h>
#include <gmock/gmock.h>

#include "tests/unit/cli/fake_daemon.h"

namespace pmemd::cli::test {
namespace {

using ::testing::HasSubstr;
using namespace std::string_literals;

Json piece(uint64_t offset, uint64_t length, uint64_t left, uint64_t failed = 0) {
  return {{"offset", offset}, {"length", length}, {"left", left}, {"failed_bytes", failed}};
}

TEST_F(CliTest, PrefaultSendsWhatTheOptionsSay) {
  daemon_.answer("Prefault", piece(0, 4096, 0));
  EXPECT_EQ(sent_by({"prefault", "0.0"}), R"(Prefault{"namespace":"namespace0.0"})");
  EXPECT_EQ(sent_by({"prefault", "volume0"}), R"(Prefault{"namespace":"volume0"})");
  EXPECT_EQ(sent_by({"prefault", "0.0", "--offset", "0", "--length", "4K", "--keep-free", "1G"}),
            R"(Prefault{"offset":0,"length":4096,"keep_free":1073741824,)"
            R"("namespace":"namespace0.0"})");
}

TEST_F(CliTest, PrefaultRefusesWhatMeansNothing) {
  EXPECT_EQ(run({"prefault"}).code, 2);
  EXPECT_EQ(run({"prefault", "0.0", "--length", "0"}).code, 2);
  EXPECT_TRUE(daemon_.calls().empty());
}

TEST_F(CliTest, PrefaultTakesFilesOfTheMountByPath) {
  const TemporaryDirectory mount;
  ASSERT_NE(::open((mount.path() + "/a").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600), -1);
  daemon_.answer("Status", {{"mount", mount.path()}});
  daemon_.answer("Prefault", piece(0, 4096, 0));
  EXPECT_EQ(run({"prefault", mount.path() + "/a", "0.1"}).out,
            "/a: 4 KiB read\nnamespace0.1: 4 KiB read\n");
  const auto calls = daemon_.calls();
  ASSERT_EQ(calls.size(), 3u);
  EXPECT_EQ(calls[1].parameters, Json({{"file", "/a"}}));
  EXPECT_EQ(calls[2].parameters, Json({{"namespace", "namespace0.1"}}));

  // What isn't seen from here, the daemon may know.
  for (const std::string& text : {mount.path() + "/b", "/pmem0/b"s, "namespace0.0:/b"s}) {
    EXPECT_EQ(sent_by({"prefault", text}), R"(Prefault{"file":")" + text + R"("})");
  }
  EXPECT_THAT(run({"prefault", mount.path() + "/b*"}).err, HasSubstr("no such file"));
  EXPECT_THAT(run({"prefault", "db"}).err, HasSubstr("db: there is no such file"));
  EXPECT_THAT(run({"prefault", "/proc/self/maps"}).err, HasSubstr("not in the mount"));
}

TEST_F(CliTest, PrefaultGoesOnUntilNothingIsLeft) {
  constexpr uint64_t kPiece = 64 << 20;
  daemon_.answer_in_turn(
      "Prefault", {piece(4096, kPiece, 2 * kPiece, 1 << 20), piece(4096 + kPiece, kPiece, kPiece),
                   piece(4096 + 2 * kPiece, kPiece, 0, 1 << 20)});
  const auto output = run({"prefault", "0.0", "--offset", "4K"});
  EXPECT_EQ(output.code, 0);
  EXPECT_EQ(output.out, "namespace0.0: 192 MiB read; 2 MiB of it are bad and were not\n");
  EXPECT_EQ(output.err, "namespace0.0: 30 %\nnamespace0.0: 60 %\n");
  const auto calls = daemon_.calls();
  ASSERT_EQ(calls.size(), 3u);
  EXPECT_EQ(calls[1].parameters.at("offset"), 4096 + kPiece);
  EXPECT_EQ(calls[1].parameters.at("length"), 2 * kPiece);
  EXPECT_EQ(calls[2].parameters.at("offset"), 4096 + 2 * kPiece);

  daemon_.answer("Prefault", piece(0, 8192, 0));
  EXPECT_EQ(Json::parse(run({"--json", "prefault", "0.0"}).out),
            Json({{"namespace", "namespace0.0"}, {"bytes", 8192}, {"failed_bytes", 0}}));
}

TEST_F(CliTest, PrefaultStopsWhenItIsInterrupted) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd stop(ends[0]), writer(ends[1]);
  ASSERT_EQ(::write(writer.get(), "", 1), 1);
  const auto output = run({"prefault", "0.0"}, stop.get());
  EXPECT_EQ(output.code, 1);
  EXPECT_THAT(output.err, HasSubstr("interrupted"));
  EXPECT_TRUE(daemon_.calls().empty());
}

}  // namespace
}  // namespace pmemd::cli::test
