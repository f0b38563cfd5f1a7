#include "tests/unit/daemon/fuse/session.h"

#include <fcntl.h>

#include <algorithm>
#include <utility>

#include "core/base/units.h"
#include "core/pool/pool.h"

namespace pmemd::test {
namespace {

constexpr uint64_t kRegionBytes = 16 * kMiB;
constexpr uint64_t kSmallBytes = 4 * kMiB;

}  // namespace

fuse_init_in init_of_today() {
  fuse_init_in init = {};
  init.major = FUSE_KERNEL_VERSION;
  init.minor = FUSE_KERNEL_MINOR_VERSION;
  init.max_readahead = 128 << 10;
  init.flags = FUSE_INIT_EXT | FUSE_MAX_PAGES | FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_DONT_MASK |
               FUSE_POSIX_ACL | FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO | FUSE_PARALLEL_DIROPS |
               FUSE_EXPLICIT_INVAL_DATA | FUSE_AUTO_INVAL_DATA | FUSE_ATOMIC_O_TRUNC |
               FUSE_EXPORT_SUPPORT | FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS | FUSE_WRITEBACK_CACHE |
               FUSE_HANDLE_KILLPRIV | FUSE_ASYNC_DIO | FUSE_CACHE_SYMLINKS | FUSE_SPLICE_READ |
               FUSE_SPLICE_WRITE | FUSE_SPLICE_MOVE;
  return init;
}

std::string read_bytes(uint64_t offset, uint32_t size, uint32_t flags) {
  fuse_read_in in = {};
  in.offset = offset;
  in.size = size;
  in.flags = flags;
  return bytes(in);
}

std::string write_bytes(uint64_t offset, std::string_view data, uint32_t write_flags) {
  fuse_write_in in = {};
  in.offset = offset;
  in.size = static_cast<uint32_t>(data.size());
  in.write_flags = write_flags;
  return bytes(in).append(data);
}

FuseSession::FuseSession() {
  devices_.set_observer(&findings_);
  findings_.attach(failures_, armed_);
  must(devices_.load());
  for (const DevicePtr& device : devices_.by_serial()) must(device->enable());
}

FuseSession::~FuseSession() {
  FaultPoint::disarm_all();
  kernel_.hang_up();  // no reply waits for us any more
  if (server_) {
    server_->expect_end();
    server_->stop();
  }
  for (const DevicePtr& device : devices_.by_serial()) take_down(*device);
}

std::unique_ptr<Pool> FuseSession::make_pool() const {
  auto pool = must(Pool::create(directory_.path() + "/pool", kRegionBytes, Reservation::kSparse));
  {
    MutexLock lock(pool->database().mutex());  // durability isn't what these tests are about
    must(pool->database().execute("PRAGMA synchronous = OFF"));
  }
  return pool;
}

Device& FuseSession::device(const std::string& name) {
  if (auto found = devices_.find(name)) return **found;
  const uint32_t region = must(pool_->create_region(kRegionBytes, Reservation::kSparse)).id;
  for (const NamespaceMode mode :
       {NamespaceMode::kDevDax, NamespaceMode::kPrivate, NamespaceMode::kP2p}) {
    const auto taken = must(devices_.add(must(
        pool_->create_namespace({.region = region, .mode = mode, .size_bytes = kSmallBytes}))));
    must(taken.devices.front()->enable());
  }
  return *must(devices_.find(name));
}

void FuseSession::start(unsigned threads) {
  server_ = must(FuseServer::create(context_, kernel_.take_connection()));
  server_->on_lost([this] { ++lost_; });
  server_->start(threads);
}

void FuseSession::serve(unsigned threads) {
  start(threads);
  EXPECT_EQ(kernel_.call(FUSE_INIT, 0, bytes(init_of_today())).err, 0);
}

void FuseSession::settle() { EXPECT_EQ(kernel_.call(FUSE_STATFS, FUSE_ROOT_ID).err, 0); }

void FuseSession::end_connection() {
  kernel_.hang_up();
  EXPECT_TRUE(eventually([this] { return lost_ > 0; }));
}

uint64_t FuseSession::make_file(std::string_view name, std::string_view content) {
  fuse_create_in in = {};
  in.flags = O_RDWR;
  in.mode = S_IFREG | 0644;
  const FakeReply made = kernel_.call(FUSE_CREATE, root(), bytes(in) + name_bytes(name));
  EXPECT_EQ(made.err, 0);
  const uint64_t ino = made.as<fuse_entry_out>().nodeid;
  fuse_release_in release = {};
  release.fh = made.as<fuse_open_out>(sizeof(fuse_entry_out)).fh;
  EXPECT_EQ(kernel_.call(FUSE_RELEASE, ino, bytes(release)).err, 0);
  if (!content.empty()) {
    must(write_to(fsdax(), ino, 0, content));
  }
  return ino;
}

uint64_t FuseSession::open(uint64_t ino, uint32_t flags) {
  const FakeReply opened = kernel_.call(FUSE_OPEN, ino, bytes(fuse_open_in{flags, 0}));
  EXPECT_EQ(opened.err, 0);
  return opened.as<fuse_open_out>().fh;
}

FakeReply FuseSession::read(uint64_t ino, uint64_t offset, uint32_t size, uint32_t flags) {
  return kernel_.call(FUSE_READ, ino, read_bytes(offset, size, flags));
}

FakeReply FuseSession::write(uint64_t ino, uint64_t offset, std::string_view data,
                             uint32_t write_flags) {
  return kernel_.call(FUSE_WRITE, ino, write_bytes(offset, data, write_flags));
}

FakeReply FuseSession::ioctl(uint64_t ino, uint64_t handle, uint32_t command, std::string_view in,
                             uint32_t out_size) {
  fuse_ioctl_in head = {};
  head.fh = handle;
  head.cmd = command;
  head.in_size = static_cast<uint32_t>(in.size());
  head.out_size = out_size;
  return kernel_.call(FUSE_IOCTL, ino, bytes(head).append(in));
}

}  // namespace pmemd::test
