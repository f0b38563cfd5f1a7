// The daemon in stages: they start in this order and end in reverse. Each destructor takes back
// what its stage did.
//
//   Host        event loop, abort guard, mount point
//   Storage     pool, event log, table of devices. Ends by writing the log, and ends the process if
//               a device was not released: others may still use it.
//   Connection  the mount and its session. Ends the watchdog, too.
//   Helpers     the notifier and the other workers. Ends by doing what is queued.
//   Failures    what turns findings into failures; armed errors, scrubs
//   Serving     the request threads, and the watchdog. Ends by unmounting.
//   Devices     enables all. Ends by removing all: stores are written, access is revoked.
//   Control     verbs and their socket. Ends by closing the socket and waiting for verbs.
//
// Invariants:
//  1. Every wait of an end has a deadline, or is ended by the watchdog, or is for the host's disk.
//  2. An error of an end is logged, and the stop is no longer clean.
//  3. A stage whose start() failed or threw ends like the others.
//
// Thread contract: the main thread starts and ends them.
#pragma once

#include <systemd/sd-event.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include "core/base/error.h"
#include "core/base/srcu.h"
#include "core/base/worker.h"
#include "core/device/device_table.h"
#include "core/events/event.h"
#include "core/events/event_log.h"
#include "core/poison/armed_errors.h"
#include "core/poison/scrub.h"
#include "core/pool/pool.h"
#include "daemon/control/server.h"
#include "daemon/fuse/server.h"
#include "daemon/fuse/watchdog.h"
#include "daemon/host/abort_guard.h"
#include "daemon/host/dirty_limits.h"
#include "daemon/host/mount.h"
#include "daemon/host/mount_point.h"
#include "daemon/kernel/failure_queue.h"
#include "daemon/kernel/kernel_notifier.h"
#include "daemon/kernel/media_findings.h"
#include "daemon/kernel/poll_waker.h"
#include "daemon/kernel/prefaulter.h"
#include "daemon/kernel/process_watch.h"
#include "daemon/options.h"
#include "daemon/verbs/machine.h"

namespace pmemd {

// What all stages have: the command line, what users may use, and how the stop goes.
struct Common {
  const Options& options;
  UserBudgets budgets;          // outlives all that is charged to it
  const char* step = "";        // of the start, for errors
  Deadline stop_deadline = {};  // set when the stop begins
  bool is_clean = true;         // nothing is left

  // Logs an error of the stop.
  void note(const Result<void>& result);
};

struct Host {
  explicit Host(Common& common) : common_(common) {}
  Result<void> start();

  struct EventLoopDeleter {
    void operator()(sd_event* made) const { sd_event_unref(made); }
  };
  std::unique_ptr<sd_event, EventLoopDeleter> loop;
  std::unique_ptr<AbortGuard> guard;
  std::optional<MountPoint> mount_point;

 private:
  Common& common_;
};

// The control server, while there is one.
class ControlPort {
 public:
  void publish(const Event& event);
  void changed();
  void set(ControlServer* server) { server_.store(server, std::memory_order_release); }
  void clear();  // returns when no call is in progress, and none comes any more

 private:
  Srcu calls_;
  std::atomic<ControlServer*> server_ = nullptr;
};

struct Storage {
  explicit Storage(Common& common) : common_(common) {}
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;
  Result<void> start();

  std::unique_ptr<Pool> pool;
  std::unique_ptr<EventLog> log;
  ControlPort control;
  EventBus events;
  MediaFindings findings;
  std::unique_ptr<DeviceTable> devices;

 private:
  Common& common_;
};

struct Connection {
  Connection(Common& common, Host& host, Storage& storage);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  Result<void> start();
  void start_watchdog();
  // Unmounts, and ends the request threads; what requests use must still be there.
  void end();

  std::optional<Mount> mount;
  dev_t device_number = 0;  // the mount's st_dev
  FuseContext context;
  std::unique_ptr<FuseServer> server;
  std::optional<Watchdog> watchdog;

 private:
  Common& common_;
  Host& host_;
  Storage& storage_;
};

struct Helpers {
  // Throws std::system_error: no thread.
  Helpers(Common& common, Host& host, Storage& storage, Connection& connection);
  Result<void> start();

  KernelNotifier notifier;
  PollWaker waker;
  ProcessWatch processes;
  Prefaulter prefaulter;
  Worker work{"work-queue"};  // ends first: its work needs the notifier

 private:
  struct SourceDeleter {
    void operator()(sd_event_source* source) const { sd_event_source_disable_unref(source); }
  };
  Host& host_;
  std::unique_ptr<sd_event_source, SourceDeleter> process_ended_;
};

struct Failures {
  Failures(Storage& storage, Connection& connection, Helpers& helpers);

  const FailurePorts ports;
  FailureQueue queue;
  ArmedErrors armed;
  Scrubber scrubber;
};

struct Serving {
  Serving(Common& common, Host& host, Connection& connection, Helpers& helpers)
      : common_(common), host_(host), connection_(connection), helpers_(helpers) {}
  ~Serving();
  Serving(const Serving&) = delete;
  Serving& operator=(const Serving&) = delete;
  Result<void> start();

  bool is_tuned = false;  // the mount's own limits are raised to the system's

 private:
  void tune();

  Common& common_;
  Host& host_;
  Connection& connection_;
  Helpers& helpers_;
  std::unique_ptr<RaisedDirtyLimits> dirty_limits_;
};

struct Devices {
  Devices(Common& common, Host& host, Storage& storage, Connection& connection, Helpers& helpers,
          Failures& failures, Serving& serving);
  ~Devices();
  Devices(const Devices&) = delete;
  Devices& operator=(const Devices&) = delete;
  Result<void> start();

  Machine machine;

 private:
  Common& common_;
};

struct Control {
  Control(Common& common, Host& host, Storage& storage, Devices& devices)
      : common_(common), host_(host), storage_(storage), devices_(devices) {}
  ~Control();
  Control(const Control&) = delete;
  Control& operator=(const Control&) = delete;
  Result<void> start();

 private:
  Common& common_;
  Host& host_;
  Storage& storage_;
  Devices& devices_;
  std::unique_ptr<ControlServer> server_;
};

}  // namespace pmemd
