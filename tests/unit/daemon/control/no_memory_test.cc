// The control socket with the first, second, third … allocation of its threads (the event loop, the
// workers) failing, until none does; and with all from it on. Who calls gets an answer: the first
// of a stream, a verb's, or ENOMEM; or is hung up on.
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "tests/unit/daemon/control/fixture.h"
#include "tests/unit/failing_allocation.h"

namespace pmemd::test {
namespace {

using Which = FailingAllocation::Which;

constexpr uint64_t kMostAllocations = 2000;

class ControlNoMemory : public ControlServerTest {
 protected:
  void SetUp() override {
    if (!FailingAllocation::is_possible()) GTEST_SKIP() << "operator new is a sanitizer's";
  }
  ControlNoMemory() {
    options_.replay = [](uint64_t since, size_t) -> Result<EventPage> {
      EventPage page{.events = {}, .through = since + 1, .is_last = true};
      page.events.push_back({.event = {.seq = since + 1, .name_of_namespace = "namespace0.0"}});
      return page;
    };
    options_.watches["WaitScrub"] = [](const Call&) -> std::expected<Progress, Refusal> {
      return Progress{.parameters = {{"scrubs", Json::array({{{"region", "region0"}}})}}};
    };
  }

  // The answers up to the one that is wanted: how many there are without a failure.
  void try_all(const Call& call, int answers) {
    SCOPED_TRACE(call.method);
    for (const Which which : {Which::kOne, Which::kAllFrom}) {
      SCOPED_TRACE(which == Which::kOne ? "one fails" : "all from it on fail");
      for (uint64_t n = 1;; ++n) {
        SCOPED_TRACE(testing::Message() << "allocation " << n);
        ASSERT_LT(n, kMostAllocations) << "it has no end";
        bool was_hit = false;
        ASSERT_NO_FATAL_FAILURE(try_one(call, answers, n, which, was_hit));
        if (!was_hit) break;
      }
    }
  }

 private:
  void try_one(const Call& call, int answers, uint64_t n, Which which, bool& was_hit) {
    bool is_whole = true;
    {
      const FailingElsewhere fails(n, which);
      ControlClient client = connect();
      ASSERT_TRUE(client.connected());
      (void)client.send(call);
      for (int i = 0; i < answers && is_whole; ++i) {
        const auto reply = client.receive();
        is_whole = reply && reply->error.empty();
        if (!reply) continue;  // hung up
        if (is_whole) {
          ASSERT_EQ(reply->continues, call.more);
        } else {
          ASSERT_EQ(reply->parameters.value("errno", 0), ENOMEM) << reply->parameters.dump();
        }
      }
      client.close();
      ASSERT_TRUE(wait_for([](const auto& stats) { return stats.connections == 0; }));
      was_hit = fails.hit();
    }
    ASSERT_TRUE(was_hit || is_whole);
    ASSERT_EQ(server_->stats().subscribers, 0u);
    const Reply next = connect().call({"org.pmemd.List"});  // and it goes on
    ASSERT_EQ(next.error, "") << next.parameters.dump();
  }
};

TEST_F(ControlNoMemory, IsAnsweredOrHungUpOn) {
  start();
  try_all({.method = "org.pmemd.List"}, 1);
  try_all({.method = "org.pmemd.Monitor", .more = true}, 1);
  try_all({.method = "org.pmemd.Monitor", .parameters = {{"since", 7}}, .more = true}, 2);
  try_all({.method = "org.pmemd.WaitScrub", .more = true}, 1);
}

}  // namespace
}  // namespace pmemd::test
