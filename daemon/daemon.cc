#include "daemon/daemon.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <new>
#include <optional>
#include <system_error>
#include <utility>

#include "core/base/fault.h"
#include "core/base/memory.h"
#include "core/base/units.h"
#include "core/filesystem/check.h"
#include "daemon/stages.h"
#include "daemon/verbs/json.h"

namespace pmemd {
namespace {

constexpr std::chrono::seconds kStopTimeout{20};
constexpr std::chrono::seconds kMaxStopStall{60};  // as long as a notification may take

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
  explicit Daemon(const Options& options)
      : common_{.options = options, .budgets = UserBudgets(raise_descriptor_limit())} {}

  // Returns an error even for a lack of memory or threads: throws nothing.
  Result<void> start();
  void run() { sd_event_loop(host_.loop.get()); }
  // Writes all stores to the medium, takes access from the mappers, unmounts. False: something is
  // left, and was logged.
  bool stop();

  const std::string& mount_point() const { return host_.mount_point->path(); }

 private:
  Result<void> start_stages();
  void begin_stop();

  Common common_;
  Host host_{common_};
  std::optional<Storage> storage_;
  std::optional<Connection> connection_;
  std::optional<Helpers> helpers_;
  std::optional<Failures> failures_;
  std::optional<Serving> serving_;
  std::optional<Devices> devices_;
  std::optional<Control> control_;
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
    return no_room(err, fmt::format("{}: {}", common_.step, strerror(err)));
  };
  try {
    auto started = start_stages();
    if (started.err() != ENOMEM && started.err() != EAGAIN) return started;
    return no_room(started.err(), started.error().describe());
  } catch (const std::bad_alloc&) {
    return lacks(ENOMEM);
  } catch (const std::system_error& error) {  // a thread
    return lacks(error.code().value());
  }
}

Result<void> Daemon::start_stages() {
  common_.step = "opening the pool";
  PMEMD_TRY(host_.start());
  PMEMD_TRY(storage_.emplace(common_).start());
  common_.step = "its threads";
  PMEMD_TRY(connection_.emplace(common_, host_, *storage_).start());
  PMEMD_TRY(helpers_.emplace(common_, host_, *storage_, *connection_).start());
  failures_.emplace(*storage_, *connection_, *helpers_);
  PMEMD_TRY(serving_.emplace(common_, host_, *connection_, *helpers_).start());
  common_.step = "enabling its namespaces";
  devices_.emplace(common_, host_, *storage_, *connection_, *helpers_, *failures_, *serving_);
  PMEMD_TRY(devices_->start());
  common_.step = "its control socket";
  return control_.emplace(common_, host_, *storage_, *devices_).start();
}

// Nothing new begins, and nothing waits for longer than the stop may take.
void Daemon::begin_stop() {
  common_.stop_deadline = deadline_after(kStopTimeout);
  if (connection_ && connection_->watchdog) {
    const std::chrono::seconds stall(common_.options.stall_timeout_s);
    connection_->watchdog->stop_within(stall.count() == 0 ? kMaxStopStall
                                                          : std::min(stall, kMaxStopStall));
  }
  FaultPoint::disarm_all();
  if (storage_ && storage_->devices &&
      !storage_->devices->interrupt_operations(common_.stop_deadline)) {
    common_.note(fail(ETIMEDOUT, "an operation did not end in time"));
  }
  if (helpers_) helpers_->processes.dispatch();  // the event loop has ended
}

bool Daemon::stop() {
  const MustAllocate whole;
  begin_stop();
  control_.reset();
  devices_.reset();
  serving_.reset();
  failures_.reset();
  helpers_.reset();
  connection_.reset();
  storage_.reset();
  return common_.is_clean;
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
