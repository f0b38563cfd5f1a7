// A failure at every step of enable, disable (plain, forced, surprise), create, destroy (also of a
// region), injecting and clearing errors, on a real mount whose files are mapped, pinned, written
// and renamed all the while. After each one the namespace is enabled or disabled, nothing in
// between; no reference is left; enabling works; and `check` is content.
//
// PMEMD_FAULT_ROUNDS says how many rounds of all steps (5; 100 take 6 minutes on two CPUs).
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/integration/support/control_client.h"
#include "tests/integration/support/harness.h"

namespace pmemd {
namespace {

// namespace0.0 (fsdax) and 0.1 (devdax) are under load; 0.2 (devdax) was read once and is idle.
class FaultRoundsTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    pool_.start({.debug_faults = true});
    control_.emplace(pool_.socket());
    must("DestroyNamespace", {{"namespace", "namespace0.0"}, {"force", true}});
    must("CreateNamespace", {{"size", 64 << 20}});
    must("CreateNamespace", {{"size", 16 << 20}, {"mode", "devdax"}});
    must("CreateNamespace", {{"size", 16 << 20}, {"mode", "devdax"}});
    write_file(pool_.path("pmem0/mapped"), std::string(4 << 20, 'x'));
    for (const char* file : {"pmem0/mapped", "dax0.1"}) {
      loads_.push_back(std::make_unique<Conversation>(std::vector<std::string>{
          program("pmemd_test_load"), pool_.path(file), pool_.path("pmem0")}));
      ASSERT_EQ(loads_.back()->receive(), "ready");
    }
    const Json faults = must("ListFaults", {}).at("faults");
    for (const Json& fault : faults) points_.push_back(fault.at("step"));
  }

  Json must(const std::string& method, const Json& parameters) {
    const auto answer = control_->call(method, parameters);
    EXPECT_TRUE(answer.done()) << method << parameters.dump() << ": " << answer.message();
    return answer.parameters;
  }
  bool is_enabled(const std::string& name) {
    const Json all = must("List", {{"namespaces", true}, {"idle", true}});
    for (const Json& space : all.at("namespaces")) {
      if (space.at("dev") == name) return !space.contains("state");
    }
    ADD_FAILURE() << name << " is gone";
    return false;
  }
  bool exists(const std::string& name) {
    const Json all = must("List", {{"namespaces", true}, {"idle", true}});
    return std::ranges::any_of(all.at("namespaces"),
                               [&](const Json& space) { return space.at("dev") == name; });
  }
  void arm(const std::string& point) { must("FailAt", {{"step", point}}); }
  // The call fails, at the step that was armed.
  void expect_fails(const std::string& point, const std::string& method, const Json& parameters) {
    const auto answer = control_->call(method, parameters);
    EXPECT_FALSE(answer.done()) << method << answer.parameters.dump();
    EXPECT_NE(answer.message().find(point), std::string::npos) << answer.message();
  }
  // A pin that is being made has its reference before it is listed: so not always at once.
  void expect_unaccounted(const std::string& name, uint64_t count) {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (must("Refs", {{"namespace", name}}).at("unaccounted") != count) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline) << "a reference was lost";
    }
  }
  void expect_no_leak(const std::string& name) {
    expect_unaccounted(name, 0);
    EXPECT_NE(must("Refs", {{"namespace", name}}).at("state"), "dying");
  }
  void lend_something(const std::string& name) {
    const char* file = name == "namespace0.0"   ? "pmem0/mapped"
                       : name == "namespace0.1" ? "dax0.1"
                                                : "dax0.2";
    const UniqueFd fd(open(pool_.path(file).c_str(), O_RDONLY | O_CLOEXEC));
    std::array<char, 4096> page{};
    EXPECT_EQ(pread(fd.get(), page.data(), page.size(), 0), 4096) << errno_name(errno);
    // The daemon hears nothing of this one; but the kernel can't forget the inode.
    kept_.reset(open(pool_.path(file).c_str(), O_PATH | O_CLOEXEC));
  }
  void disable(const std::string& name, bool force = true) {
    must("DisableNamespace", {{"namespace", name}, {"force", force}});
  }
  void enable(const std::string& name) { must("EnableNamespace", {{"namespace", name}}); }

  void fail_enabling(const std::string& name, const std::string& point) {
    if (point == "enable.format" || point == "enable.mount") {
      if (name != "namespace0.0") return;  // a devdax has no file system
    }
    disable(name);
    arm(point);
    expect_fails(point, "EnableNamespace", {{"namespace", name}});
    EXPECT_FALSE(is_enabled(name));
    expect_no_leak(name);
    enable(name);
  }

  void fail_disabling(const std::string& name, const std::string& point, const Json& options) {
    SCOPED_TRACE(name);
    Json parameters = {{"namespace", name}};
    parameters.update(options);
    lend_something(name);
    arm(point);
    if (point == "release.leak") {
      parameters["drain_timeout_ms"] = 20;
      const auto answer = control_->call("DisableNamespace", parameters);
      EXPECT_EQ(answer.err(), ETIMEDOUT) << answer.message();
      EXPECT_TRUE(is_enabled(name)) << "taken back";
      expect_unaccounted(name, 1);
      parameters["force"] = parameters["abandon"] = true;
      parameters["drain_timeout_ms"] = 1000;
      EXPECT_EQ(must("DisableNamespace", parameters).at("report").at("abandoned"), 1);
    } else {
      expect_fails(point, "DisableNamespace", parameters);
    }
    expect_no_leak(name);
    const bool before_the_end =
        point.starts_with("disable.") || point.starts_with("revoke.") || point == "release.unmap";
    EXPECT_EQ(is_enabled(name), before_the_end) << "as before, or gone";
    if (!is_enabled(name)) enable(name);
    disable(name, name != "namespace0.2");
    enable(name);
  }

  void fail_configuring(const std::string& point) {
    const Json parameters = {{"namespace", "namespace0.2"}, {"settings", "kill=late"}};
    arm(point);
    expect_fails(point, "Configure", parameters);
    must("Configure", parameters);
  }

  // It isn't made to fail: that may hit a load, and is SIGBUS for it.
  void stall_reading(const std::string& point) {
    must("FailAt", {{"step", point}, {"delay_ms", 20}});
    const UniqueFd fd(open(pool_.path("pmem0/mapped").c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC));
    alignas(4096) std::array<char, 4096> page{};
    EXPECT_EQ(pread(fd.get(), page.data(), page.size(), 0), ssize_t{4096});
    for (const Json& fault : must("ListFaults", {}).at("faults")) {
      if (fault.at("step") == point) {
        EXPECT_GT(fault.at("hits"), 0);
      }
    }
  }

  void fail_creating(const std::string& point) {
    arm(point);
    expect_fails(point, "CreateNamespace", {{"size", 8 << 20}});
    EXPECT_FALSE(exists("namespace0.3"));
    must("CreateNamespace", {{"size", 8 << 20}});
    must("DestroyNamespace", {{"namespace", "namespace0.3"}, {"force", true}});
  }

  void fail_destroying(const std::string& point) {
    must("CreateNamespace", {{"size", 8 << 20}});
    write_file(pool_.path("pmem0.3/file"), "content");
    arm(point);
    expect_fails(point, "DestroyNamespace", {{"namespace", "namespace0.3"}, {"force", true}});
    const bool is_whole = point == "destroy.begin" || point == "destroy.mark";
    EXPECT_EQ(exists("namespace0.3"), is_whole);
    if (exists("namespace0.3")) must("DestroyNamespace", {{"namespace", "namespace0.3"}});
  }

  bool region_exists(const std::string& name) {
    const Json all = must("List", {{"regions", true}});
    return std::ranges::any_of(all.at("regions"),
                               [&](const Json& region) { return region.at("dev") == name; });
  }
  void fail_destroying_region(const std::string& point) {
    must("CreateRegion", {{"size", 8 << 20}, {"sparse", true}});
    must("CreateNamespace", {{"region", "region1"}});
    write_file(pool_.path("pmem1/file"), "content");
    const Json forced = {{"region", "region1"}, {"force", true}};
    arm(point);
    expect_fails(point, "DestroyRegion", forced);
    EXPECT_EQ(exists("namespace1.0"), point == "destroy-region.begin");
    const bool is_there = point == "destroy-region.begin" || point == "destroy-region.mark";
    EXPECT_EQ(region_exists("region1"), is_there);
    if (is_there) must("DestroyRegion", forced);
  }

  // A range of a file that is mapped and stored to goes bad, and good again.
  void fail_poisoning(const std::string& name, const Json& what, const std::string& point) {
    SCOPED_TRACE(name);
    if (point.starts_with("clear.")) {
      must("InjectError", what);
      arm(point);
      expect_fails(point, "ClearErrors", what);
    } else {
      arm(point);
      expect_fails(point, "InjectError", what);
      must("InjectError", what);
    }
    must("ClearErrors", what);
    EXPECT_EQ(must("InjectedErrors", {{"namespace", name}}).at("badblocks"), Json::array());
    EXPECT_TRUE(is_enabled(name));
    expect_no_leak(name);
  }

  bool volume_exists(const std::string& name) {
    const Json all = must("List", {{"volumes", true}, {"idle", true}});
    return std::ranges::any_of(all.at("volumes"),
                               [&](const Json& volume) { return volume.at("dev") == name; });
  }
  // After a failure it is there or not, and its legs can be used again at once.
  void fail_volume(const std::string& point) {
    const Json legs = {{"legs", {"namespace0.3", "namespace0.4"}}};
    for (int i = 0; i < 2; ++i) must("CreateNamespace", {{"size", 8 << 20}});
    if (point.starts_with("create-volume.")) {
      arm(point);
      expect_fails(point, "CreateVolume", legs);
    }
    std::string name = must("CreateVolume", legs).at("volume").at("dev");
    if (point.starts_with("destroy-volume.")) {
      arm(point);
      expect_fails(point, "DestroyVolume", {{"volume", name}, {"force", true}});
      if (!volume_exists(name)) name = must("CreateVolume", legs).at("volume").at("dev");
    }
    must("DestroyVolume", {{"volume", name}, {"force", true}});
    for (const char* leg : {"namespace0.3", "namespace0.4"}) {
      must("DestroyNamespace", {{"namespace", leg}, {"force", true}});
    }
  }

  void round() {
    const Json plain = Json::object();
    const Json forced = {{"force", true}};
    const Json surprise = {{"force", true}, {"surprise", true}};
    for (const std::string& point : points_) {
      SCOPED_TRACE(point);
      const std::string operation = point.substr(0, point.find('.'));
      if (operation == "enable") {
        for (const char* name : {"namespace0.0", "namespace0.1"}) fail_enabling(name, point);
        fail_creating(point);
      } else if (operation == "disable" || operation == "revoke" || operation == "release") {
        fail_disabling("namespace0.2", point, plain);
        fail_disabling("namespace0.0", point, forced);
        fail_disabling("namespace0.1", point, surprise);
      } else if (operation == "inject" || operation == "clear" || operation == "media") {
        fail_poisoning("namespace0.0",
                       {{"file", "/pmem0/mapped"}, {"offset", 65536}, {"length", 8192}}, point);
        fail_poisoning("namespace0.1",
                       {{"namespace", "namespace0.1"}, {"offset", 65536}, {"length", 8192}}, point);
      } else if (operation == "configure") {
        fail_configuring(point);
      } else if (operation == "events") {
        // What can't be kept is told all the same.
        arm(point);
        must("InjectError", {{"file", "/pmem0/mapped"}, {"offset", 0}, {"length", 4096}});
        must("ClearErrors", {{"file", "/pmem0/mapped"}});
      } else if (operation == "read") {
        stall_reading(point);
      } else if (operation == "create-volume" || operation == "destroy-volume") {
        fail_volume(point);
      } else if (operation == "destroy-region") {
        fail_destroying_region(point);
      } else if (operation == "create") {
        fail_creating(point);
      } else if (operation == "destroy") {
        fail_destroying(point);
      } else {
        ADD_FAILURE() << "no test knows the step " << point;
      }
    }
    EXPECT_EQ(must("Check", {}).at("findings"), Json::array());
  }

  TestPool pool_{Storage::kMemory};
  std::optional<ControlClient> control_;
  std::vector<std::unique_ptr<Conversation>> loads_;
  std::vector<std::string> points_;
  UniqueFd kept_;
};

TEST_F(FaultRoundsTest, EveryStepFailsUnderLoadAndNothingIsLeftHalf) {
  const char* wanted = getenv("PMEMD_FAULT_ROUNDS");
  const int rounds = wanted == nullptr ? 5 : std::atoi(wanted);
  EXPECT_GE(points_.size(), 36u);
  for (int i = 0; i < rounds && !HasFailure(); ++i) {
    SCOPED_TRACE(testing::Message() << "round " << i);
    round();
  }
  for (auto& load : loads_)
    EXPECT_TRUE(load->process().running()) << "it goes on, whatever happens";
  loads_.clear();
  for (const char* name : {"namespace0.0", "namespace0.1", "namespace0.2"}) disable(name, false);
  control_.reset();
  kept_.reset();
  pool_.stop();
  pool_.expect_check_passes();
}

}  // namespace
}  // namespace pmemd
