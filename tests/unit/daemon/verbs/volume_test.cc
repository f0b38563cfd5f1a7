// The verbs that make and take apart volumes, without a kernel.
#include <gtest/gtest.h>

#include "core/base/fault.h"
#include "daemon/verbs/verbs.h"
#include "tests/unit/daemon/verbs/verbs_machine.h"

namespace pmemd::test {
namespace {

struct NothingFails {
  ~NothingFails() { FaultPoint::disarm_all(); }
};

// Its legs are enabled by then, and can't be disabled again: they can't be let go.
TEST(CreateVolume, ThatCanNeitherBeEnabledNorTakenBackStaysDisabled) {
  const NothingFails at_the_end;
  VerbsMachine machine;
  const auto done = [&](const std::string& verb, const Json& parameters) {
    const auto answer = machine.call(verb, parameters);
    EXPECT_EQ(answer.err, 0) << verb << ": " << answer.message;
  };
  const Json legs = Json::array({"namespace3.0", "namespace4.0"});
  for (const auto& leg : legs) done("DisableNamespace", {{"namespace", leg}});
  done("FailAt", {{"step", "enable.mount"}});
  done("FailAt", {{"step", "disable.kill"}});

  const auto created = machine.call("CreateVolume", {{"legs", legs}});
  EXPECT_EQ(created.err, EIO);
  EXPECT_NE(created.message.find("volume1: made, but not enabled"), std::string::npos)
      << created.message;

  const auto state = [&](const char* name) {
    return (*machine.machine().devices.find(name))->state();
  };
  EXPECT_EQ(state("volume1"), Device::State::kDisabled);
  EXPECT_EQ(state("namespace3.0"), Device::State::kLive);
  done("EnableNamespace", {{"namespace", "volume1"}});
  EXPECT_EQ(state("volume1"), Device::State::kLive);
  done("DestroyVolume", {{"volume", "volume1"}, {"force", true}});
  EXPECT_EQ(machine.findings(), "[]");
}

// The same, but its legs can be disabled: nothing is left of it.
TEST(CreateVolume, ThatCanNotBeEnabledIsTakenBack) {
  const NothingFails at_the_end;
  VerbsMachine machine;
  const std::string before = machine.state();
  ASSERT_EQ(machine.call("FailAt", {{"step", "enable.mount"}}).err, 0);
  EXPECT_EQ(
      machine.call("CreateVolume", {{"legs", Json::array({"namespace3.0", "namespace4.0"})}}).err,
      EIO);
  EXPECT_EQ(machine.state(), before);
}

}  // namespace
}  // namespace pmemd::test
