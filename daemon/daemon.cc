#include "daemon/daemon.h"

#include <fmt/format.h>
#include <pthread.h>
#include <spdlog/spdlog.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/statfs.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstring>
#include <ctime>
#include <memory>
#include <new>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include "core/base/fault.h"
#include "core/base/memory.h"
#include "core/base/units.h"
#include "core/events/event_log.h"
#include "core/filesystem/check.h"
#include "core/poison/armed_errors.h"
#include "core/pool/pool.h"
#include "core/pool/schema.h"
#include "core/removal/removal.h"
#include "daemon/control/server.h"
#include "daemon/fuse/server.h"
#include "daemon/fuse/watchdog.h"
#include "daemon/host/abort_guard.h"
#include "daemon/host/dirty_limits.h"
#include "daemon/host/host_memory.h"
#include "daemon/host/memory_cgroup.h"
#include "daemon/host/mount.h"
#include "daemon/host/mount_point.h"
#include "daemon/host/tuning.h"
#include "daemon/kernel/failure_worker.h"
#include "daemon/kernel/kernel_notifier.h"
#include "daemon/kernel/media_findings.h"
#include "daemon/kernel/poll_waker.h"
#include "daemon/kernel/prefaulter.h"
#include "daemon/verbs/json.h"
#include "daemon/verbs/lifecycle.h"
#include "daemon/verbs/verbs.h"

namespace pmemd {
namespace {

constexpr std::chrono::seconds kStopTimeout{20};
constexpr std::chrono::seconds kMaxStopStall{60};  // as long as a notification may take
constexpr unsigned kMinRequestThreads = 4;         // two may wait for the host's disk, two serve

struct EventLoopDeleter {
  void operator()(sd_event* loop) const { sd_event_unref(loop); }
};
using EventLoop = std::unique_ptr<sd_event, EventLoopDeleter>;

Result<std::unique_ptr<Pool>> open_pool(const Options& options) {
  if (Pool::exists(options.pool) || !options.create_size) {
    return Pool::open(
        options.pool, Pool::Mode::kReadWrite, [](const std::string& pool, int32_t from) {
          spdlog::info(
              "pool {}: upgraded from format version {} to {}: an older pmemd can't open it now",
              pool, from, kPoolVersion);
        });
  }
  return Pool::create(options.pool, *options.create_size,
                      options.sparse ? Reservation::kSparse : Reservation::kReserved);
}

// The loop gets the signals that end us; every thread created later has them blocked.
Result<EventLoop> make_event_loop() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT}) sigaddset(&set, signal);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGHUP, SIG_IGN);

  sd_event* raw = nullptr;
  int result = sd_event_new(&raw);
  EventLoop loop(raw);
  for (const int signal : {SIGTERM, SIGINT}) {
    if (result >= 0) result = sd_event_add_signal(raw, nullptr, signal, nullptr, nullptr);
  }
  if (result >= 0) result = sd_event_set_watchdog(raw, 1);
  if (result < 0) return fail(-result, "the event loop can't be made");
  return loop;
}

// A subscriber is a descriptor, and there may be thousands.
// How many there may be now.
uint64_t raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  const rlim_t before = std::exchange(limit.rlim_cur, limit.rlim_max);
  return setrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_max : before;
}

class Daemon {
 public:
  explicit Daemon(const Options& options) : options_(options), budgets_(raise_descriptor_limit()) {}

  // Returns an error even for a lack of memory or threads: throws nothing.
  Result<void> start();
  void run() { sd_event_loop(loop_.get()); }
  // Writes all stores to the medium, takes access from the mappers, unmounts. False: something is
  // left, and was logged.
  bool stop();

  const std::string& mount_point() const { return mount_point_->path(); }

 private:
  Result<void> start_steps();
  dev_t device_number() const { return mount_->id().device_number; }  // the mount's st_dev
  Result<void> make_devices();
  bool tune();
  void make_failure_path(KernelPort& kernel);
  void make_prefaulter();
  void make_watchdog();
  Result<void> enable_all();
  Result<void> start_control();

  const Options& options_;
  UserBudgets budgets_;    // outlives all that is charged to it
  const char* step_ = "";  // the current step of start()
  EventLoop loop_;
  std::unique_ptr<Pool> pool_;
  std::optional<MountPoint> mount_point_;
  std::unique_ptr<EventLog> event_log_;
  EventBus events_;
  std::unique_ptr<DeviceTable> devices_;
  std::unique_ptr<ProcessWatch> processes_;
  std::unique_ptr<WorkQueue> work_;
  std::unique_ptr<FuseContext> fuse_;
  std::optional<Mount> mount_;
  std::unique_ptr<AbortGuard> guard_;
  std::unique_ptr<FuseServer> server_;
  std::unique_ptr<Watchdog> watchdog_;
  std::unique_ptr<RaisedDirtyLimits> dirty_limits_;
  std::unique_ptr<KernelNotifier> notifier_;
  std::unique_ptr<Prefaulter> prefaulter_;
  std::unique_ptr<FailurePorts> failure_;
  MediaFindings findings_;
  std::unique_ptr<FailureWorker> failure_worker_;
  std::unique_ptr<PollWaker> waker_;
  std::unique_ptr<ArmedErrors> armed_;
  std::unique_ptr<Scrubber> scrubber_;
  std::unique_ptr<Machine> machine_;
  std::unique_ptr<ControlServer> control_;
  std::atomic<ControlServer*> publishes_ = nullptr;  // control_, once it is there
};

// Says what was wanted, which limit prevents it, and what to do.
std::unexpected<Error> no_room(int err, const std::string& what) {
  rlimit limit{};
  std::string limited;
  if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
    limited = fmt::format("; the address space is limited to {}", format_size(limit.rlim_cur));
  }
  return fail(
      err, fmt::format("not enough memory to start: {}{}", what, limited),
      "raise the limits: ulimit -v and -u, of a service LimitAS=, MemoryMax= and TasksMax=");
}

Result<void> Daemon::start() {
  const auto lacks = [this](int err) {
    const MustAllocate message;
    return no_room(err, fmt::format("{}: {}", step_, strerror(err)));
  };
  try {
    auto started = start_steps();
    if (started.err() != ENOMEM && started.err() != EAGAIN) return started;
    return no_room(started.err(), started.error().describe());
  } catch (const std::bad_alloc&) {
    return lacks(ENOMEM);
  } catch (const std::system_error& error) {  // a thread
    return lacks(error.code().value());
  }
}

Result<void> Daemon::start_steps() {
  step_ = "opening the pool";
  PMEMD_ASSIGN(loop_, make_event_loop());
  PMEMD_ASSIGN(guard_, AbortGuard::start());  // while there is no other thread
  PMEMD_ASSIGN(mount_point_, MountPoint::find(options_.mount, options_.pool,
                                              options_.nonempty ? MountPoint::Files::kMayBeHidden
                                                                : MountPoint::Files::kNone));
  PMEMD_ASSIGN(pool_, open_pool(options_));
  PMEMD_ASSIGN(event_log_, EventLog::open(pool_->database()));
  events_.number_from(event_log_->next_seq());
  events_.set_sink([this](const Event& event) {
    event_log_->append(event);  // first: a replay then finds everything that is published
    if (ControlServer* const control = publishes_.load(std::memory_order_acquire)) {
      control->publish(event);
    }
  });
  step_ = "its namespaces";
  PMEMD_TRY(make_devices());
  step_ = "its threads";
  processes_ = std::make_unique<ProcessWatch>(budgets_.processes, [this](pid_t pid) {
    for (const DevicePtr& device : devices_->by_serial()) {
      device->handles().remove_process(pid);
      return_buffers_later(*fuse_, device);
    }
  });
  work_ = std::make_unique<WorkQueue>(budgets_.work);
  fuse_ = std::unique_ptr<FuseContext>(new FuseContext{
      .devices = *devices_, .budgets = budgets_, .processes = *processes_, .work = *work_});
  clock_gettime(CLOCK_REALTIME, &fuse_->started);

  PMEMD_ASSIGN(mount_, Mount::make(*mount_point_, {.source = "pmemd:" + pool_->path(),
                                                   .allow_other = options_.allow_other}));
  PMEMD_ASSIGN(server_, FuseServer::create(*fuse_, mount_->take_connection()));
  guard_->watch(device_number());
  notifier_ = std::make_unique<KernelNotifier>(server_->session(), mount_point(), device_number());
  fuse_->kernel = notifier_.get();
  make_failure_path(*notifier_);
  waker_ = std::make_unique<PollWaker>();
  fuse_->waker = waker_.get();
  fuse_->failures = failure_worker_.get();
  make_prefaulter();
  // Unmounted by hand: nothing is left to serve.
  server_->on_lost([] { kill(getpid(), SIGTERM); });
  step_ = "its watchdog";
  make_watchdog();
  step_ = "the threads that serve requests";
  server_->start(std::max(kMinRequestThreads, std::thread::hardware_concurrency()));
  // What is asked of the mount waits for the kernel to have our answer to INIT, which overwrites
  // the mount's readahead: whoever tunes it comes after that.
  struct statfs ignored = {};
  (void)statfs(mount_point().c_str(), &ignored);

  step_ = "enabling its namespaces";
  const bool is_tuned = tune();
  machine_ = std::make_unique<Machine>(Machine{.pool = *pool_,
                                               .devices = *devices_,
                                               .fuse = *fuse_,
                                               .kernel = *notifier_,
                                               .events = events_,
                                               .failure = *failure_,
                                               .armed = *armed_,
                                               .scrubber = *scrubber_,
                                               .prefaulter = *prefaulter_,
                                               .mount_point = mount_point(),
                                               .is_tuned = is_tuned,
                                               .debug_faults = options_.debug_faults,
                                               .control_stats = {}});
  PMEMD_TRY(enable_all());
  step_ = "its control socket";
  return start_control();
}

// Whether the mount's own limits are raised to the system's.
bool Daemon::tune() {
  const auto memory = host_memory();
  auto group_limit = memory_cgroup_limit();
  if (group_limit && memory && *group_limit >= memory->total_bytes) group_limit.reset();
  const auto tuned = tune_mount(device_number(), group_limit);
  if (!tuned) {
    spdlog::warn("{}: stores through mappings will be throttled (run as root to raise the limit)",
                 tuned.error().describe());
  } else if (group_limit) {
    spdlog::info("the control group may have {}: a quarter of it may be dirty in the mount",
                 format_size(*group_limit));
  }
  if (options_.raise_dirty_limits) {
    if (auto raised = RaisedDirtyLimits::raise()) {
      dirty_limits_ = *std::move(raised);
    } else {
      spdlog::warn("the host's dirty limits stay: {}", raised.error().describe());
    }
  }
  return tuned.has_value() && !group_limit;
}

// Makes them disabled; they report findings only once they are enabled.
Result<void> Daemon::make_devices() {
  devices_ = std::make_unique<DeviceTable>(*pool_);
  if (options_.system_ram_bytes != 0) {
    PMEMD_TRY(devices_->registry().add_system_ram({0, options_.system_ram_bytes}));
  }
  devices_->set_observer(&findings_);
  return devices_->load();
}

void Daemon::make_failure_path(KernelPort& kernel) {
  const FailurePorts ports{.registry = devices_->registry(),
                           .kernel = kernel,
                           .events = events_,
                           .device_of = [this](uint64_t ino) { return devices_->by_ino(ino); }};
  failure_ = std::make_unique<FailurePorts>(ports);
  failure_worker_ = std::make_unique<FailureWorker>(ports);
  armed_ = std::make_unique<ArmedErrors>(ports, findings_);
  findings_.attach(*failure_worker_, *armed_);
  scrubber_ = std::make_unique<Scrubber>(
      ports,
      Scrubber::Ports{.errors_of = [this](uint32_t region) { return pool_->media_errors(region); },
                      .devices_of = [this](uint32_t region) { return devices_->of_region(region); },
                      .on_progress = [this] { control_->changed(); }});  // nothing before it serves
}

void Daemon::make_prefaulter() {
  prefaulter_ = std::make_unique<Prefaulter>(Prefaulter::Ports{
      .open = [this](uint64_t ino,
                     const std::string& path) { return notifier_->open_inode(ino, path); },
      .window_bytes = [this] { return readahead_bytes(device_number()); }});
  if (options_.hot_ranges) fuse_->prefaulter = prefaulter_.get();
  fuse_->is_own_thread = [this](pid_t tid) {
    return notifier_->is_own_thread(tid) || prefaulter_->is_own_thread(tid);
  };
  // If there are errors, or errors armed for a number of accesses, each touch must count as one.
  fuse_->may_read_ahead = [this](const Device& device) {
    const DataRange all = {0, device.record().data_bytes()};
    return device.memory().errors(DeviceMemory::ErrorKind::kKnown, all).empty() &&
           device.memory().errors(DeviceMemory::ErrorKind::kInjected, all).empty() &&
           armed_->list(device).empty();
  };
}

void Daemon::make_watchdog() {
  const Watchdog::Limits limits = {.stall = std::chrono::seconds(options_.stall_timeout_s)};
  const Watchdog::Ports ports = {
      .nobody_reads = [this] { return server_->nobody_reads(); },
      .progress = [this] { return fuse_->requests.total(); },
      .add_thread = [this] { return server_->want_thread(); },
      .abort =
          [this] {
            spdlog::critical(
                "no request goes on: the mount's connection is aborted; what was "
                "stored and not written back is lost");
            guard_->abort();
            kill(getpid(), SIGTERM);
          },
      .exit =
          [] {
            spdlog::critical("the stop doesn't end: the process ends now");
            spdlog::shutdown();
            _exit(1);
          }};
  watchdog_ = std::make_unique<Watchdog>(ports, limits);
  server_->on_exhausted([this] { watchdog_->wake(); });
}

// Legs before their volumes. A damaged namespace doesn't keep users from the others; but one that
// lacks memory would leave the service incomplete.
Result<void> Daemon::enable_all() {
  for (const DevicePtr& device : devices_->by_serial()) {
    auto enabled = enable_device(*machine_, *device);
    if (enabled.err() == ENOMEM) return enabled;
    if (!enabled) {
      spdlog::error("{}; it stays disabled", enabled.error().describe());
    }
  }
  return {};
}

Result<void> Daemon::start_control() {
  ControlOptions options;
  if (!options_.socket.empty()) options.path = options_.socket;
  if (geteuid() == 0) options.group = "pmem";
  options.mount_point = mount_point();
  options.replay = [this](uint64_t since, size_t max_events) {
    return event_log_->read(since, max_events);
  };
  options.watches["WaitScrub"] = [this](const Call& call) { return wait_scrub(*machine_, call); };
  machine_->control_stats = [this] { return control_->stats(); };
  PMEMD_ASSIGN(control_, ControlServer::start(loop_.get(), options, make_handlers(*machine_)));
  publishes_.store(control_.get(), std::memory_order_release);
  spdlog::info("pool {} on {}, control socket {}", pool_->path(), mount_point(), control_->path());
  return {};
}

bool Daemon::stop() {
  const MustAllocate whole;
  bool clean = true;
  const auto note = [&](const Result<void>& result) {
    if (result) return;
    spdlog::error("{}", result.error().describe());
    clean = false;
  };
  const Deadline deadline = deadline_after(kStopTimeout);
  if (watchdog_) {
    const std::chrono::seconds stall(options_.stall_timeout_s);
    watchdog_->stop_within(stall.count() == 0 ? kMaxStopStall : std::min(stall, kMaxStopStall));
  }
  FaultPoint::disarm_all();
  if (devices_ && !devices_->interrupt_operations(deadline)) {
    spdlog::error("an operation did not end in time");
    clean = false;
  }
  if (control_) note(control_->stop(deadline));
  scrubber_.reset();

  std::vector<Device*> enabled;
  if (devices_) {
    for (const DevicePtr& device : devices_->by_serial()) {
      if (device->state() != Device::State::kDisabled) enabled.push_back(device.get());
    }
    std::ranges::reverse(enabled);  // volumes before their legs
  }
  if (!enabled.empty()) {
    // Nobody will come back for what is left: it is given up, and reported.
    auto outcome = remove_devices(enabled, {.force = true, .abandon = true}, *notifier_, events_);
    note(outcome.result);
    for (const auto& report : outcome.reports) {
      if (report.pins_taken + report.abandoned != 0) {
        spdlog::warn("{}: {} pins taken, {} references given up", report.name_of_namespace,
                     report.pins_taken, report.abandoned);
      }
      if (report.lost_writebacks == 0) continue;
      spdlog::error("{}: {} pages could not be written back", report.name_of_namespace,
                    report.lost_writebacks);
    }
  }
  prefaulter_.reset();  // its descriptors are in the mount
  if (server_) server_->expect_end();
  if (mount_) note(mount_->unmount(*mount_point_));
  if (server_) server_->stop();
  dirty_limits_.reset();
  // These use members that our destructor destroys before them, and are idle without requests.
  armed_.reset();
  failure_worker_.reset();
  processes_.reset();
  work_.reset();
  if (event_log_) note(event_log_->flush(deadline));
  // A device that could not be released must not be destroyed under its users.
  for (const Device* device : enabled) {
    if (device->state() == Device::State::kDisabled) continue;
    spdlog::error("{}: not released; its free space is discarded at the next start",
                  device->record().name());
    spdlog::shutdown();
    _exit(1);
  }
  return clean && !(watchdog_ && watchdog_->has_aborted());
}

}  // namespace

int run_daemon(const Options& options, const std::function<void()>& ready) {
  // We need memory in order to free memory: the kernel must not make us wait for writeback then.
  // Threads inherit it.
  if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) != 0) {
    spdlog::debug("no I/O flusher: {}", std::strerror(errno));  // needs CAP_SYS_RESOURCE
  }
  Daemon daemon(options);
  const auto started = daemon.start();
  if (started) {
    ready();
    sd_notifyf(0, "READY=1\nSTATUS=serving %s", daemon.mount_point().c_str());
    daemon.run();
    sd_notify(0, "STOPPING=1");
    spdlog::info("stopping");
  } else {
    spdlog::error("{}", started.error().describe());
  }
  const bool clean = daemon.stop();
  return started && clean ? 0 : 1;
}

int run_check(const Options& options) {
  const auto findings = or_no_memory([&]() -> Result<std::vector<Finding>> {
    PMEMD_ASSIGN(const auto pool, Pool::open(options.pool, Pool::Mode::kReadOnly));
    return check_pool(*pool);
  });
  if (!findings) {
    fmt::print(stderr, "pmemd: {}\n", findings.error().describe());
    return 1;
  }
  if (options.json) {
    Json list = Json::array();
    for (const Finding& finding : *findings) {
      list.push_back({{"object", finding.object}, {"problem", finding.problem}});
    }
    fmt::print("{}\n", list.dump(2));
  } else {
    for (const Finding& finding : *findings)
      fmt::print("{}: {}\n", finding.object, finding.problem);
    if (findings->empty()) fmt::print("pool {}: holds together\n", options.pool);
  }
  return findings->empty() ? 0 : 1;
}

}  // namespace pmemd
