// All that the control socket's verbs work on, over a pool of a test's own, without a mount: the
// kernel's part is played here.
//
// namespace0.0 (fsdax) has /pmem0/file of 4 pages, which a process has open and a mapping of it
// registered. region1: namespace1.0 (devdax), namespace1.1 (private), namespace1.2 (p2p). region2:
// free. namespace3.0, namespace4.0: for volumes to be. volume0 stands on namespace5.0,
// namespace5.1.
//
// Thread contract: one thread; the machine's own threads are its own.
#pragma once

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/base/fault.h"
#include "core/base/units.h"
#include "core/control/interface.h"
#include "core/poison/armed_errors.h"
#include "core/poison/scrub.h"
#include "core/pool/pool.h"
#include "daemon/kernel/failure_queue.h"
#include "daemon/kernel/media_findings.h"
#include "daemon/kernel/prefaulter.h"
#include "daemon/verbs/lifecycle.h"
#include "daemon/verbs/verbs.h"
#include "tests/unit/device/volume_pool.h"
#include "tests/unit/temporary_directory.h"

namespace pmemd::test {

// Does what it is asked; each call allocates, as each message to the real one's thread does.
class QuietKernel : public KernelPort {
 public:
  Result<void> flush(uint64_t of, FileRange range) override {
    flushed = {of, range};
    (void)post();
    return {};
  }
  Result<void> inval(uint64_t /*ino*/, FileRange /*range*/) override {
    (void)post();
    return {};
  }
  void hide(const Device& /*device*/) override { (void)post(); }
  void show(const Device& /*device*/) override { (void)post(); }
  std::vector<Holder> holders(const std::vector<const Device*>& devices) const override {
    std::vector<Holder> found;
    for (const Device* device : devices) {
      if (device->claims().handle_count() == 0) continue;
      // Of no process that there is: above the largest pid.
      Holder holder{.pid = 1 << 23, .uid = 0, .comm = "a process with a long name"};
      holder.mappings.push_back(
          {.ino = ino, .path = "/pmem0/file", .range = {0, kPageSize}, .addresses = {}});
      found.push_back(std::move(holder));
    }
    return found;
  }

  uint64_t ino = 0;                             // of the file that is mapped
  std::pair<uint64_t, FileRange> flushed = {};  // last

 private:
  static std::shared_ptr<std::string> post() {
    return std::make_shared<std::string>("what the notifier's thread shall do");
  }
};

class VerbsMachine {
 public:
  static constexpr uint64_t kRegionBytes = 16 * kMiB;
  static constexpr uint64_t kSmallBytes = 4 * kMiB;

  VerbsMachine() : pool_(make_pool()) {
    events_.set_sink([this](const Event&) {
      MutexLock lock(progress_mutex_);
      progress_cv_.notify_all();
    });
    devices_.set_observer(&findings_);
    findings_.attach(failures_, armed_);
    must(devices_.load());
    handlers_ = make_handlers(machine_);
    for (const DevicePtr& device : devices_.by_serial()) must(enable_device(machine_, *device));
    make_used_file();
  }
  ~VerbsMachine() {
    auto all = devices_.by_serial();
    for (auto device = all.rbegin(); device != all.rend(); ++device) take_down(**device);
  }

  const Handlers& handlers() const { return handlers_; }
  Machine& machine() { return machine_; }
  uint64_t used_file() const { return kernel_.ino; }  // "/pmem0/file"
  QuietKernel& kernel() { return kernel_; }

  struct Answer {
    int err = 0;
    std::string message;
    Json parameters;
  };
  // As the control server does with what has come from a socket; `around` is called around the
  // handler and the encoding of its reply.
  Answer call(const std::string& name, const Json& parameters,
              const std::function<void(const std::function<void()>&)>& around) const {
    const Call call{.method = "org.pmemd." + name, .parameters = parameters};
    const Method* const method = *find_method(call);
    EXPECT_FALSE(check_parameters(*method, call)) << name << " " << parameters.dump();
    const Peer peer{.uid = getuid(), .gid = getgid(), .pid = getpid(), .groups = {}};
    std::string bytes;
    around([&] { bytes = run_handler(*method, handlers_.at(name), call, peer); });
    bytes.pop_back();  // its NUL
    const Reply reply = must(parse_reply(bytes));
    if (reply.error.empty()) return {0, {}, reply.parameters};
    return {reply.parameters.value("errno", -1), reply.parameters.dump(), reply.parameters};
  }
  Answer call(const std::string& name, const Json& parameters) const {
    return call(name, parameters, [](const auto& act) { act(); });
  }

  void wait_for_scrubs() const {
    MutexLock lock(progress_mutex_);
    const auto runs = [&] {
      return std::ranges::any_of(scrubber_.status(), [](const auto& one) { return one.running; });
    };
    while (runs()) progress_cv_.wait(progress_mutex_);
  }

  // Looks again at each event: for what an event follows.
  void wait_until(const std::function<bool()>& is_so) const {
    MutexLock lock(progress_mutex_);
    while (!is_so()) progress_cv_.wait(progress_mutex_);
  }

  // Of all that can change the most of it, without a verb: so it costs little.
  std::string outline() {
    wait_for_scrubs();
    std::string text;
    for (const RegionRecord& region : pool_->regions()) {
      text += fmt::format("{}: {}\n", region.name(), pool_->available(region.id).total_bytes);
    }
    for (const DevicePtr& device : devices_.by_serial()) {
      text += fmt::format("{}: {}{}{}", device->record().name(), static_cast<int>(device->state()),
                          device->above() != nullptr ? " leg" : "",
                          device->admit(Admission::kRequest) ? " admits" : " refuses");
      for (const auto kind :
           {DeviceMemory::ErrorKind::kKnown, DeviceMemory::ErrorKind::kInjected}) {
        for (const DataRange& bad :
             device->memory().errors(kind, {0, device->record().data_bytes()})) {
          text += fmt::format(" {}+{}", bad.begin, bad.length());
        }
      }
      text += fmt::format(" {} armed", armed_.list(*device).size());
      text += device->settings() == NamespaceSettings() ? "\n" : " configured\n";
    }
    for (const FaultPoint::Info& fault : FaultPoint::list()) {
      if (fault.left != 0) text += fmt::format("{}\n", fault.name);
    }
    for (const ScrubStatus& scrub : scrubber_.status()) {
      text += fmt::format("{}: {}\n", scrub.region, scrub.range.length());
    }
    // Whoever has begun to operate on a device has ended.
    const auto operation = devices_.begin_operation(devices_.by_serial());
    return text + (operation ? "" : operation.error().describe());
  }
  // What the verbs that look say, but for what is random or counts.
  std::string state() {
    wait_for_scrubs();
    Json all = told("List", {{"regions", true},
                             {"namespaces", true},
                             {"volumes", true},
                             {"idle", true},
                             {"media_errors", true},
                             {"device_dax", true}});
    std::string text;
    for (auto& [kind, list] : all.items()) {
      for (Json& one : list) {
        one.erase("uuid");
        text += one.dump() + "\n";
      }
    }
    for (const DevicePtr& device : devices_.by_serial()) {
      const std::string name = device->record().name();
      for (const Json& setting : told("Settings", {{"namespace", name}}).at("settings")) {
        const Json& value = setting.at("value");
        if (value != setting.at("values").at(0)) text += name + " " + value.dump() + "\n";
      }
      text += name + " " + told("InjectedErrors", {{"namespace", name}}).dump() + "\n";
    }
    for (const Json& fault : told("ListFaults", Json::object()).at("faults")) {
      if (fault.at("left") != 0) text += fault.dump() + "\n";
    }
    return text;
  }
  std::string findings() { return told("Check", Json::object()).at("findings").dump(); }

 private:
  std::unique_ptr<Pool> make_pool() const {
    auto pool = must(Pool::create(directory_.path() + "/pool", kRegionBytes, Reservation::kSparse));
    {
      MutexLock lock(pool->database().mutex());  // durability isn't what these tests are about
      must(pool->database().execute("PRAGMA synchronous = OFF"));
    }
    const auto add = [&](uint32_t region, NamespaceMode mode, uint64_t bytes) {
      return must(pool->create_namespace({.region = region, .mode = mode, .size_bytes = bytes}))
          .serial;
    };
    for (int region = 1; region <= 5; ++region) {
      must(pool->create_region(kRegionBytes, Reservation::kSparse));
    }
    add(1, NamespaceMode::kDevDax, kSmallBytes);
    add(1, NamespaceMode::kPrivate, kSmallBytes);
    add(1, NamespaceMode::kP2p, kSmallBytes);
    add(3, NamespaceMode::kFsDax, kSmallBytes);
    add(4, NamespaceMode::kFsDax, kSmallBytes);
    const uint64_t first = add(5, NamespaceMode::kFsDax, kSmallBytes);
    const uint64_t second = add(5, NamespaceMode::kFsDax, kSmallBytes);
    must(pool->create_volume(VolumeType::kLinear, 0, {first, second}));
    return pool;
  }

  void make_used_file() {
    Device& device = *must(devices_.find("namespace0.0"));
    kernel_.ino = make_file(device, "file");
    must(write_to(device, kernel_.ino, 0, std::string(4 * kPageSize, 'a')));
    EXPECT_TRUE(device.leases().lend(kernel_.ino, {0, 4 * kPageSize}));
    const pid_t nobody = 1 << 23;
    const uint64_t handle =
        must(device.handles().add({.ino = kernel_.ino, .pid = nobody, .writable = true}));
    must(device.handles().register_mapping(handle, nobody, {0, kPageSize}, kMiB));
  }

  Json told(const std::string& name, const Json& parameters) const {
    const Answer answer = call(name, parameters);
    EXPECT_EQ(answer.err, 0) << name << ": " << answer.message;
    return answer.parameters;
  }

  UniqueFd open_something() const {
    return UniqueFd(::open((directory_.path() + "/pool/pool.db").c_str(), O_RDONLY | O_CLOEXEC));
  }

  TemporaryDirectory directory_{TemporaryDirectory::Place::kInMemory};
  std::unique_ptr<Pool> pool_;
  mutable Mutex progress_mutex_;
  mutable CondVar progress_cv_;
  EventBus events_;
  DeviceTable devices_{*pool_};
  QuietKernel kernel_;
  UserBudgets budgets_{1024};
  ProcessWatch processes_{budgets_.processes, [](pid_t) {}};
  Worker work_{"work-queue"};
  FuseContext fuse_{
      .devices = devices_, .budgets = budgets_, .processes = &processes_, .work = &work_};
  const FailurePorts failure_{.registry = devices_.registry(),
                              .kernel = kernel_,
                              .events = events_,
                              .device_of = [this](uint64_t ino) { return devices_.by_ino(ino); }};
  FailureQueue failures_{failure_, work_};
  MediaFindings findings_;
  ArmedErrors armed_{failure_, findings_, work_};
  Scrubber scrubber_{failure_,
                     {.errors_of = [this](uint32_t region) { return pool_->media_errors(region); },
                      .devices_of = [this](uint32_t region) { return devices_.of_region(region); },
                      .on_progress =
                          [this] {
                            MutexLock lock(progress_mutex_);
                            progress_cv_.notify_all();
                          }},
                     work_};
  Prefaulter prefaulter_{{.open = [this](uint64_t, const std::string&) { return open_something(); },
                          .memory = []() -> Result<HostMemory> {
                            return HostMemory{.total_bytes = kGiB, .available_bytes = kGiB};
                          }}};
  Machine machine_{.pool = *pool_,
                   .devices = devices_,
                   .fuse = fuse_,
                   .kernel = kernel_,
                   .events = events_,
                   .failure = failure_,
                   .armed = armed_,
                   .scrubber = scrubber_,
                   .prefaulter = prefaulter_,
                   .mount_point = "/a/mount/point/of/a/test",
                   .debug_faults = true,
                   .control_stats = [] { return ControlServer::Stats(); }};
  Handlers handlers_;
};

}  // namespace pmemd::test
