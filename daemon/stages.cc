#include "daemon/stages.h"

#include <fmt/format.h>
#include <pthread.h>
#include <spdlog/spdlog.h>
#include <sys/epoll.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <ctime>
#include <thread>
#include <utility>
#include <vector>

#include "core/base/units.h"
#include "core/pool/schema.h"
#include "core/removal/removal.h"
#include "daemon/host/host_memory.h"
#include "daemon/host/memory_cgroup.h"
#include "daemon/host/tuning.h"
#include "daemon/verbs/lifecycle.h"
#include "daemon/verbs/verbs.h"

namespace pmemd {
namespace {

constexpr std::chrono::seconds kLogTimeout{5};
constexpr unsigned kMinRequestThreads = 4;  // two may wait for the host's disk, two serve

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

}  // namespace

void Common::note(const Result<void>& result) {
  if (result) return;
  spdlog::error("{}", result.error().describe());
  is_clean = false;
}

// --- Host

// The loop gets the signals that end us; every thread created later has them blocked.
Result<void> Host::start() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT}) sigaddset(&set, signal);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGHUP, SIG_IGN);

  sd_event* raw = nullptr;
  int result = sd_event_new(&raw);
  loop.reset(raw);
  for (const int signal : {SIGTERM, SIGINT}) {
    if (result >= 0) result = sd_event_add_signal(raw, nullptr, signal, nullptr, nullptr);
  }
  if (result >= 0) result = sd_event_set_watchdog(raw, 1);
  if (result < 0) return fail(-result, "the event loop can't be made");

  PMEMD_ASSIGN(guard, AbortGuard::start());  // while there is no other thread
  const auto files =
      common_.options.nonempty ? MountPoint::Files::kMayBeHidden : MountPoint::Files::kNone;
  PMEMD_ASSIGN(mount_point, MountPoint::find(common_.options.mount, common_.options.pool, files));
  return {};
}

// --- Storage

void ControlPort::publish(const Event& event) {
  const auto call = calls_.read_lock();
  if (ControlServer* const server = server_.load(std::memory_order_acquire)) server->publish(event);
}

void ControlPort::changed() {
  const auto call = calls_.read_lock();
  if (ControlServer* const server = server_.load(std::memory_order_acquire)) server->changed();
}

void ControlPort::clear() {
  server_.store(nullptr, std::memory_order_release);
  (void)calls_.synchronize(Deadline::max());  // no call waits for anything
}

// The devices are disabled; they report findings only once they are enabled.
Result<void> Storage::start() {
  PMEMD_ASSIGN(pool, open_pool(common_.options));
  PMEMD_ASSIGN(log, EventLog::open(pool->database()));
  events.number_from(log->next_seq());
  events.set_sink([this](const Event& event) {
    log->append(event);  // first: a replay then finds everything that is published
    control.publish(event);
  });
  common_.step = "its namespaces";
  devices = std::make_unique<DeviceTable>(*pool);
  if (common_.options.system_ram_bytes != 0) {
    PMEMD_TRY(devices->registry().add_system_ram({0, common_.options.system_ram_bytes}));
  }
  devices->set_observer(&findings);
  return devices->load();
}

Storage::~Storage() {
  // Removals may have used up the deadline.
  if (log) common_.note(log->flush(std::max(common_.stop_deadline, deadline_after(kLogTimeout))));
  if (!devices) return;
  for (const DevicePtr& device : devices->by_serial()) {
    if (device->state() == Device::State::kDisabled) continue;
    spdlog::error("{}: not released; its free space is discarded at the next start",
                  device->record().name());
    spdlog::shutdown();
    _exit(1);
  }
}

// --- Connection

Connection::Connection(Common& common, Host& host, Storage& storage)
    : context{.devices = *storage.devices, .budgets = common.budgets},
      common_(common),
      host_(host),
      storage_(storage) {
  clock_gettime(CLOCK_REALTIME, &context.started);
}

Result<void> Connection::start() {
  PMEMD_ASSIGN(mount,
               Mount::make(*host_.mount_point, {.source = "pmemd:" + storage_.pool->path(),
                                                .allow_other = common_.options.allow_other}));
  PMEMD_ASSIGN(server, FuseServer::create(context, mount->take_connection()));
  device_number = mount->id().device_number;
  host_.guard->watch(device_number);
  return {};
}

void Connection::start_watchdog() {
  const Watchdog::Limits limits = {.stall = std::chrono::seconds(common_.options.stall_timeout_s)};
  const Watchdog::Ports ports = {
      .nobody_reads = [this] { return server->nobody_reads(); },
      .progress = [this] { return context.requests.total(); },
      .is_writing = [] { return MappedImage::threads_persisting() != 0; },
      .add_thread = [this] { return server->want_thread(); },
      .abort =
          [this] {
            spdlog::critical(
                "no request goes on: the mount's connection is aborted; what was "
                "stored and not written back is lost");
            host_.guard->abort();
            kill(getpid(), SIGTERM);
          },
      .exit =
          [] {
            spdlog::critical("the stop doesn't end: the process ends now");
            spdlog::shutdown();
            _exit(1);
          }};
  watchdog.emplace(ports, limits);
  server->on_exhausted([this] { watchdog->wake(); });
}

void Connection::end() {
  if (server) server->expect_end();
  if (mount) common_.note(mount->unmount(*host_.mount_point));
  mount.reset();
  if (server) server->stop();
}

Connection::~Connection() {
  end();
  if (watchdog && watchdog->has_aborted()) common_.is_clean = false;
}

// --- Helpers

Helpers::Helpers(Common& common, Host& host, Storage& storage, Connection& connection)
    : notifier(connection.server->session(), host.mount_point->path(), connection.device_number),
      processes(common.budgets.processes,
                [&storage, &connection](pid_t pid) {
                  for (const DevicePtr& device : storage.devices->by_serial()) {
                    device->handles().remove_process(pid);
                    return_buffers_later(connection.context, device);
                  }
                }),
      prefaulter(
          {.open = [this](uint64_t ino,
                          const std::string& path) { return notifier.open_inode(ino, path); },
           .window_bytes = [&connection] { return readahead_bytes(connection.device_number); }}),
      host_(host) {
  FuseContext& context = connection.context;
  context.kernel = &notifier;
  context.waker = &waker;
  context.processes = &processes;
  context.work = &work;
  if (common.options.hot_ranges) context.prefaulter = &prefaulter;
  context.is_own_thread = [this](pid_t tid) {
    return notifier.is_own_thread(tid) || prefaulter.is_own_thread(tid);
  };
}

Result<void> Helpers::start() {
  sd_event_source* raw = nullptr;
  const int result = sd_event_add_io(
      host_.loop.get(), &raw, processes.fd(), EPOLLIN,
      [](sd_event_source*, int, uint32_t, void* watch) noexcept {
        static_cast<ProcessWatch*>(watch)->dispatch();
        return 0;
      },
      &processes);
  process_ended_.reset(raw);
  if (result < 0) return fail(-result, "ends of processes can't be watched");
  return {};
}

// --- Failures

Failures::Failures(Storage& storage, Connection& connection, Helpers& helpers)
    : ports{.registry = storage.devices->registry(),
            .kernel = helpers.notifier,
            .events = storage.events,
            .device_of = [&storage](uint64_t ino) { return storage.devices->by_ino(ino); }},
      queue(ports, helpers.work),
      armed(ports, storage.findings, helpers.work),
      scrubber(
          ports,
          {.errors_of = [&storage](uint32_t region) { return storage.pool->media_errors(region); },
           .devices_of = [&storage](uint32_t region) { return storage.devices->of_region(region); },
           .on_progress = [&storage] { storage.control.changed(); }},
          helpers.work) {
  storage.findings.attach(queue, armed);
  connection.context.failures = &queue;
  // If there are errors, or errors armed for a number of accesses, each touch must count as one.
  connection.context.may_read_ahead = [this](const Device& device) {
    const DataRange all = {0, device.record().data_bytes()};
    return device.memory().errors(DeviceMemory::ErrorKind::kKnown, all).empty() &&
           device.memory().errors(DeviceMemory::ErrorKind::kInjected, all).empty() &&
           armed.list(device).empty();
  };
}

// --- Serving

Result<void> Serving::start() {
  // Unmounted by hand: nothing is left to serve.
  connection_.server->on_lost([] { kill(getpid(), SIGTERM); });
  common_.step = "its watchdog";
  connection_.start_watchdog();
  common_.step = "the threads that serve requests";
  connection_.server->start(std::max(kMinRequestThreads, std::thread::hardware_concurrency()));
  // What is asked of the mount waits for the kernel to have our answer to INIT, which overwrites
  // the mount's readahead: whoever tunes it comes after that.
  struct statfs ignored = {};
  (void)statfs(host_.mount_point->path().c_str(), &ignored);
  tune();
  return {};
}

void Serving::tune() {
  const auto memory = host_memory();
  auto group_limit = memory_cgroup_limit();
  if (group_limit && memory && *group_limit >= memory->total_bytes) group_limit.reset();
  const auto tuned = tune_mount(connection_.device_number, group_limit);
  if (!tuned) {
    spdlog::warn("{}: stores through mappings will be throttled (run as root to raise the limit)",
                 tuned.error().describe());
  } else if (group_limit) {
    spdlog::info("the control group may have {}: a quarter of it may be dirty in the mount",
                 format_size(*group_limit));
  }
  if (common_.options.raise_dirty_limits) {
    if (auto raised = RaisedDirtyLimits::raise()) {
      dirty_limits_ = *std::move(raised);
    } else {
      spdlog::warn("the host's dirty limits stay: {}", raised.error().describe());
    }
  }
  is_tuned = tuned.has_value() && !group_limit;
}

Serving::~Serving() {
  helpers_.prefaulter.stop();  // its descriptors are in the mount
  connection_.end();
}

// --- Devices

Devices::Devices(Common& common, Host& host, Storage& storage, Connection& connection,
                 Helpers& helpers, Failures& failures, Serving& serving)
    : machine{.pool = *storage.pool,
              .devices = *storage.devices,
              .fuse = connection.context,
              .kernel = helpers.notifier,
              .events = storage.events,
              .failure = failures.ports,
              .armed = failures.armed,
              .scrubber = failures.scrubber,
              .prefaulter = helpers.prefaulter,
              .mount_point = host.mount_point->path(),
              .is_tuned = serving.is_tuned,
              .debug_faults = common.options.debug_faults,
              .control_stats = {}},
      common_(common) {}

// Legs before their volumes. A damaged namespace doesn't keep users from the others; but one that
// lacks memory would leave the service incomplete.
Result<void> Devices::start() {
  for (const DevicePtr& device : machine.devices.by_serial()) {
    auto enabled = enable_device(machine, *device);
    if (enabled.err() == ENOMEM) return enabled;
    if (!enabled) spdlog::error("{}; it stays disabled", enabled.error().describe());
  }
  return {};
}

Devices::~Devices() {
  std::vector<Device*> enabled;
  for (const DevicePtr& device : machine.devices.by_serial()) {
    if (device->state() != Device::State::kDisabled) enabled.push_back(device.get());
  }
  if (enabled.empty()) return;
  std::ranges::reverse(enabled);  // volumes before their legs
  // Nobody will come back for what is left: it is given up, and reported.
  const auto outcome =
      remove_devices(enabled, {.force = true, .abandon = true}, machine.kernel, machine.events);
  common_.note(outcome.result);
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

// --- Control

Result<void> Control::start() {
  Machine& machine = devices_.machine;
  ControlOptions options;
  if (!common_.options.socket.empty()) options.path = common_.options.socket;
  if (geteuid() == 0) options.group = "pmem";
  options.mount_point = machine.mount_point;
  options.replay = [this](uint64_t since, size_t max_events) {
    return storage_.log->read(since, max_events);
  };
  options.watches["WaitScrub"] = [&machine](const Call& call) { return wait_scrub(machine, call); };
  machine.control_stats = [this] { return server_->stats(); };
  PMEMD_ASSIGN(server_, ControlServer::start(host_.loop.get(), options, make_handlers(machine)));
  storage_.control.set(server_.get());
  spdlog::info("pool {} on {}, control socket {}", storage_.pool->path(), machine.mount_point,
               server_->path());
  return {};
}

Control::~Control() {
  if (!server_) return;
  common_.note(server_->stop(common_.stop_deadline));
  storage_.control.clear();
  // A verb that hasn't ended uses the other stages: the server's destructor waits for it.
}

}  // namespace pmemd
