#include "daemon/fuse/server.h"

#include <fmt/format.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>

namespace pmemd {
namespace {

constexpr unsigned kMaxWrite = 1U << 20;
constexpr unsigned kMaxReadahead = 2U << 20;
constexpr unsigned kMaxBackground = 64;
constexpr size_t kRequestBufferSize = kMaxWrite + 16 * 4096;  // plus the headers before the data

// Interrupts a read(2) of /dev/fuse; does nothing itself.
constexpr int kWakeSignal = SIGUSR1;

// libfuse calls it for an INIT that it accepts; the kernel then sends requests.
void op_init(void* userdata, fuse_conn_info* conn) noexcept {
  static_cast<FuseContext*>(userdata)->is_initialized.store(true, std::memory_order_release);
  // Not wanted: AUTO_INVAL_DATA: a new size or time must not drop pages (they are the memory).
  // ATOMIC_O_TRUNC: truncation comes as setattr. The kernel keeps locks, and removes suid bits
  // itself. ASYNC_DIO: the kernel would lock the pages of the program's buffer inside our reply,
  // and a holder of such a lock may wait for us (docs/locking.md); without it the program's own
  // thread does that.
  // libfuse 3.14 doesn't pass PARALLEL_DIROPS on (findings/libfuse-keeps-parallel-dirops-…).
  conn->want &= ~static_cast<unsigned>(
      FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_HANDLE_KILLPRIV |
      FUSE_CAP_FLOCK_LOCKS | FUSE_CAP_POSIX_LOCKS | FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_ASYNC_DIO |
      FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
  conn->want |= conn->capable & (FUSE_CAP_EXPLICIT_INVAL_DATA | FUSE_CAP_EXPORT_SUPPORT |
                                 FUSE_CAP_POSIX_ACL | FUSE_CAP_DONT_MASK | FUSE_CAP_CACHE_SYMLINKS |
                                 FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_ASYNC_READ);
  conn->max_write = kMaxWrite;
  conn->max_readahead = kMaxReadahead;
  conn->max_background = kMaxBackground;
  conn->time_gran = 1;
}

fuse_lowlevel_ops make_operations() {
  fuse_lowlevel_ops ops = {};
  ops.init = op_init;
  add_name_operations(ops);
  add_file_operations(ops);
  add_attr_operations(ops);
  add_ioctl_operations(ops);
  add_poll_operation(ops);
  return ops;
}

// libfuse (3.14) checks no length: it would read the rest from the previous request.
void refuse(int fd, const fuse_in_header& request) {
  const fuse_out_header reply = {.len = sizeof(reply), .error = -EIO, .unique = request.unique};
  if (write(fd, &reply, sizeof(reply)) < 0) {
    spdlog::debug("a request that isn't whole: {}", std::strerror(errno));
  }
}

struct AlignedDelete {
  void operator()(void* memory) const { std::free(memory); }
};

}  // namespace

FuseServer::FuseServer(FuseContext& context) : context_(context) { sem_init(&wanted_, 0, 0); }

FuseServer::~FuseServer() {
  if (session_ != nullptr) fuse_session_destroy(session_);  // closes the connection, too
  sem_destroy(&wanted_);
}

Result<std::unique_ptr<FuseServer>> FuseServer::create(FuseContext& context, UniqueFd connection) {
  context.is_initialized = false;
  std::unique_ptr<FuseServer> server(new FuseServer(context));
  fuse_args args = FUSE_ARGS_INIT(0, nullptr);
  fuse_opt_add_arg(&args, "pmemd");
  const fuse_lowlevel_ops ops = make_operations();
  server->session_ = fuse_session_new(&args, &ops, sizeof(ops), &context);
  fuse_opt_free_args(&args);
  if (server->session_ == nullptr) return fail(ENOMEM, "libfuse made no session");
  // The mount point name that gives libfuse an existing connection.
  const std::string name = fmt::format("/dev/fd/{}", connection.get());
  if (fuse_session_mount(server->session_, name.c_str()) != 0) {
    return fail(EINVAL, "libfuse refused the connection");
  }
  (void)connection.release();  // the session owns it
  return server;
}

void FuseServer::start(unsigned threads) {
  struct sigaction action = {};
  action.sa_handler = [](int) {};  // without SA_RESTART: read(2) returns EINTR
  sigaction(kWakeSignal, &action, nullptr);
  for (unsigned i = 0; i < std::min(threads, kMaxThreads); ++i) {
    if (!add_thread()) throw std::bad_alloc();
  }
  maker_ = std::thread([this] { make_wanted_threads(); });
}

bool FuseServer::want_thread() noexcept {
  if (stopping_.load(std::memory_order_acquire) || is_making_.exchange(true)) return false;
  sem_post(&wanted_);
  return !has_failed_;
}

void FuseServer::make_wanted_threads() {
  pthread_setname_np(pthread_self(), "fuse-threads");
  while (true) {
    while (sem_wait(&wanted_) != 0) {  // EINTR
    }
    if (stopping_.load(std::memory_order_acquire)) return;
    has_failed_ = !add_thread();
    is_making_ = false;
  }
}

bool FuseServer::add_thread() {
  MutexLock lock(mutex_);
  if (stopping_.load(std::memory_order_acquire) || running_ >= kMaxThreads) return false;
  std::unique_ptr<void, AlignedDelete> buffer(std::aligned_alloc(4096, kRequestBufferSize));
  if (!buffer) return false;
  try {
    threads_.emplace_back([this, buffer = std::move(buffer)] { serve(buffer.get()); });
  } catch (const std::exception& e) {  // no thread, or no memory for one
    spdlog::warn("no further thread for requests: {}", e.what());
    return false;
  }
  ++running_;
  return true;
}

void FuseServer::dispatch(int fd, void* message, size_t size) {
  fuse_in_header header = {};
  if (size < sizeof(header)) {
    spdlog::error("a message of {} bytes is no request", size);
    return;
  }
  std::memcpy(&header, message, sizeof(header));
  if (header.len != size) return refuse(fd, header);
  context_.requests.count(header.opcode);
  if (answer_tmpfile(context_, fd, message, size)) return;
  fuse_buf request = {};
  request.mem = message;
  request.size = size;
  fuse_session_process_buf(session_, &request);
}

void FuseServer::serve(void* buffer) {
  pthread_setname_np(pthread_self(), "fuse");
  const int fd = fuse_session_fd(session_);
  // Touches the buffer, so that no read of a request waits for memory that waits for that request.
  std::memset(buffer, 0, kRequestBufferSize);
  t_blocking_hook = &readers_;
  while (!stopping_.load(std::memory_order_acquire)) {
    readers_.begin_read();
    const ssize_t size = read(fd, buffer, kRequestBufferSize);
    readers_.end_read();
    if (size < 0) {
      // ENOENT: the request was interrupted before it could be read.
      if (errno == EINTR || errno == EAGAIN || errno == ENOENT) continue;
      if (errno != ENODEV && errno != ECONNABORTED) {  // unmounted, aborted
        spdlog::error("reading /dev/fuse: {}", std::strerror(errno));
      }
      break;
    }
    if (size == 0) break;  // a socket whose other end is closed
    dispatch(fd, buffer, static_cast<size_t>(size));
  }
  readers_.end();  // so that the other threads notice, too
  bool last = false;
  {
    MutexLock lock(mutex_);
    last = --running_ == 0;
    thread_ended_cv_.notify_all();
  }
  if (last && !stopping_ && lost_) lost_();
}

// A thread between its check of `stopping_` and its read(2) misses a signal, so the signal is sent
// until all have ended.
void FuseServer::stop() {
  stopping_ = true;
  readers_.end();
  sem_post(&wanted_);
  if (maker_.joinable()) maker_.join();
  {
    MutexLock lock(mutex_);
    while (running_ > 0) {
      for (auto& thread : threads_) pthread_kill(thread.native_handle(), kWakeSignal);
      (void)thread_ended_cv_.wait_until(mutex_, deadline_after(std::chrono::milliseconds(10)));
    }
  }
  std::vector<std::thread> ended;
  {
    MutexLock lock(mutex_);
    ended.swap(threads_);
  }
  for (auto& thread : ended) thread.join();
}

}  // namespace pmemd
