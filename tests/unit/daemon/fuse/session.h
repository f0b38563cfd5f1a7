// A session between the fake kernel and the daemon's real FuseServer, with a pool of its own for
// each test.
//
// pmem0 is an fsdax. dax1.0 (devdax), hmm1.1 (private) and p2p1.2 are made at the first use of one:
// each mapping of an image costs the process one of 1024 pthread keys, for good (libpmem2 1.12),
// and each session needs one.
//
// With one server thread (the default) all requests are served in order, so settle() follows
// everything that was sent before it. A test that makes a request stall, or holds up a reply, needs
// more threads.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "core/base/fault.h"
#include "core/device/device_table.h"
#include "core/events/event.h"
#include "core/removal/kernel_port.h"
#include "daemon/fuse/server.h"
#include "daemon/kernel/failure_queue.h"
#include "daemon/kernel/media_findings.h"
#include "daemon/kernel/poll_waker.h"
#include "tests/unit/daemon/fuse/fake_kernel.h"
#include "tests/unit/device/volume_pool.h"
#include "tests/unit/temporary_directory.h"

namespace pmemd::test {

// Polls until `is_so` is true. False: it takes longer than kPatience.
template <class IsSo>
bool eventually(IsSo is_so) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (!is_so()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

// Does nothing of what removals and returned buffers ask of the kernel. Replies to requests don't
// come here.
class IdleKernelPort : public KernelPort {
 public:
  Result<void> flush(uint64_t /*ino*/, FileRange /*range*/) override { return {}; }
  Result<void> inval(uint64_t /*ino*/, FileRange /*range*/) override { return {}; }
  void hide(const Device& /*device*/) override {}
  void show(const Device& /*device*/) override {}
  std::vector<Holder> holders(const std::vector<const Device*>& /*devices*/) const override {
    return {};
  }
};

class FuseSession : public ::testing::Test {
 protected:
  FuseSession();
  ~FuseSession() override;

  // Starts the session; the test sends INIT.
  void start(unsigned threads = 1);
  // Starts the session and sends INIT.
  void serve(unsigned threads = 1);
  // Waits until all requests sent so far have ended; with one thread only.
  void settle();
  // Hangs up, and waits until the server has found out.
  void end_connection();

  // --- requests, as most tests need them
  // Makes a file in pmem0's root, known to the kernel by one lookup; returns its node id.
  uint64_t make_file(std::string_view name, std::string_view content = {});
  FakeReply lookup(uint64_t parent, std::string_view name) {
    return kernel_.call(FUSE_LOOKUP, parent, name_bytes(name));
  }
  void forget(uint64_t ino, uint64_t count) {
    kernel_.send(FUSE_FORGET, ino, bytes(fuse_forget_in{.nlookup = count}));
  }
  FakeReply unlink(std::string_view name) {
    return kernel_.call(FUSE_UNLINK, root(), name_bytes(name));
  }
  uint64_t open(uint64_t ino, uint32_t flags);
  FakeReply read(uint64_t ino, uint64_t offset, uint32_t size, uint32_t flags = 0);
  FakeReply write(uint64_t ino, uint64_t offset, std::string_view data, uint32_t write_flags = 0);
  FakeReply ioctl(uint64_t ino, uint64_t handle, uint32_t command, std::string_view in,
                  uint32_t out_size);

  Device& fsdax() { return device("namespace0.0"); }
  Device& devdax() { return device("namespace1.0"); }
  Device& private_memory() { return device("namespace1.1"); }
  Device& p2p() { return device("namespace1.2"); }
  uint64_t root() { return fsdax().root_ino(); }  // of pmem0

  FakeKernel kernel_;

 private:
  std::unique_ptr<Pool> make_pool() const;
  Device& device(const std::string& name);

  TemporaryDirectory directory_{TemporaryDirectory::Place::kInMemory};
  std::unique_ptr<Pool> pool_ = make_pool();
  EventBus events_;

 protected:
  UserBudgets budgets_{1024};  // outlives everything charged to it
  DeviceTable devices_{*pool_};

 private:
  IdleKernelPort port_;
  const FailurePorts failure_{.registry = devices_.registry(),
                              .kernel = port_,
                              .events = events_,
                              .device_of = [this](uint64_t ino) { return devices_.by_ino(ino); }};
  Worker work_{"work-queue"};
  FailureQueue failures_{failure_, work_};
  MediaFindings findings_;
  ArmedErrors armed_{failure_, findings_, work_};
  ProcessWatch processes_{budgets_.processes, [](pid_t) {}};

 protected:
  std::unique_ptr<FuseServer> server_;
  std::atomic<int> lost_ = 0;  // how often the server has called on_lost's callback

 private:
  PollWaker waker_;  // its handles belong to the server's session

 protected:
  FuseContext context_{.devices = devices_,
                       .budgets = budgets_,
                       .processes = &processes_,
                       .work = &work_,
                       .kernel = &port_,
                       .waker = &waker_,
                       .failures = &failures_};
};

// The body of a READ or a WRITE.
std::string read_bytes(uint64_t offset, uint32_t size, uint32_t flags = 0);
std::string write_bytes(uint64_t offset, std::string_view data, uint32_t write_flags = 0);
// The INIT request of a current kernel.
fuse_init_in init_of_today();

}  // namespace pmemd::test
