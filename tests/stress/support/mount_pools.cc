#include "tests/stress/support/mount_pools.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstring>
#include <stdexcept>

#include "core/base/unique_fd.h"
#include "tests/integration/support/control_client.h"

namespace pmemd {
namespace {

constexpr uint64_t kMiB = 1 << 20;

struct MadeDevice {
  const char* name;     // of the namespace or volume
  const char* mounted;  // what the mount shows
};
constexpr MadeDevice kFsDaxes[] = {
    {"namespace0.0", "pmem0"}, {"namespace1.1", "pmem1.1"}, {"volume0", "vol0"}};

void must(int result, const std::string& what) {
  if (result != 0) throw_errno(what);
}

Json must(ControlClient& control, const std::string& method, const Json& parameters) {
  const auto answer = control.call(method, parameters);
  if (!answer.done()) throw std::runtime_error(method + ": " + answer.message());
  return answer.parameters;
}

}  // namespace

void copy_pool(const std::string& from, const std::string& to) {
  (void)run_ok({"cp", "-a", from, to});
}

MountPools::MountPools() {
  base_.start({.create = "16M"});
  make_objects();
  uint64_t seed = 100;
  for (const auto& [name, mounted] : kFsDaxes) fill(mounted, seed += 100);
  {
    const UniqueFd fd(open(base_.path("dax1.0").c_str(), O_RDWR | O_CLOEXEC));
    void* const base = mmap(nullptr, kDevDaxBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
    if (base == MAP_FAILED) throw_errno("dax1.0");
    const std::string bytes = pattern(5, kDevDaxBytes);
    std::memcpy(base, bytes.data(), bytes.size());
    must(msync(base, kDevDaxBytes, MS_SYNC), "msync");
    must(munmap(base, kDevDaxBytes), "munmap");
  }
  base_.stop();
  copy_pool(base_.pool(), directory(false));
  clean_ = read_and_compare(directory(false));

  base_.start({.create = ""});
  for (const auto& [name, mounted] : kFsDaxes) change(mounted, seed += 100);
  base_.kill9();
  must(umount2(base_.mount().c_str(), MNT_DETACH), base_.mount());
  copy_pool(base_.pool(), directory(true));
  struct stat status = {};
  must(stat((directory(true) + "/pool.db-wal").c_str(), &status), "the WAL");
  if (status.st_size < 16384) throw std::runtime_error("the WAL is empty");
  killed_ = read_and_compare(directory(true));
}

void MountPools::make_objects() {
  ControlClient control(base_.socket());
  must(control, "DestroyNamespace", {{"namespace", "namespace0.0"}, {"force", true}});
  for (int i = 0; i < 3; ++i) must(control, "CreateRegion", {{"size", 8 * kMiB}, {"sparse", true}});
  const auto make = [&](const char* region, const char* mode, uint64_t mib) {
    must(control, "CreateNamespace", {{"region", region}, {"mode", mode}, {"size", mib * kMiB}});
  };
  make("region0", "fsdax", 8);
  make("region0", "private", 4);
  make("region0", "p2p", 4);
  make("region1", "devdax", 4);
  make("region1", "fsdax", 4);
  make("region2", "fsdax", 8);
  make("region3", "fsdax", 8);
  must(control, "CreateVolume",
       {{"type", "striped"}, {"chunk", 65536}, {"legs", {"namespace2.0", "namespace3.0"}}});
  must(control, "Configure", {{"namespace", "namespace0.0"}, {"settings", "clear-unit=256"}});
  const Json all = must(control, "List", {{"namespaces", true}}).at("namespaces");
  for (const Json& one : all) modes_[one.at("uuid")] = one.at("mode");
  must(control, "InjectError", {{"namespace", "namespace1.0"}, {"offset", kMiB}, {"length", 5000}});
  write_file(base_.path("pmem1.1/bad"), pattern(4, 20'000));
  fsync_path(base_.path("pmem1.1/bad"));
  written_["namespace1.1/bad"] = {.type = S_IFREG, .size = 20'000, .bytes = pattern(4, 20'000)};
  must(control, "InjectError", {{"file", "/pmem1.1/bad"}, {"offset", 8192}, {"length", 4096}});
}

void MountPools::file(const std::string& device, const std::string& path, uint64_t seed,
                      size_t bytes, uint64_t offset) {
  const std::string at = base_.path(device + "/" + path), data = pattern(seed, bytes);
  const UniqueFd fd(open(at.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0640));
  if (!fd) throw_errno(at);
  if (pwrite(fd.get(), data.data(), bytes, static_cast<off_t>(offset)) !=
      static_cast<ssize_t>(bytes)) {
    throw_errno(at);
  }
  must(fsync(fd.get()), at);
  for (const auto& [name, mounted] : kFsDaxes) {
    if (device != mounted) continue;
    std::string whole = std::string(offset, '\0') + data;
    const size_t size = whole.size();
    written_[name + ("/" + path)] = {.type = S_IFREG, .size = size, .bytes = std::move(whole)};
  }
}

void MountPools::fill(const std::string& device, uint64_t seed) {
  const std::string root = base_.path(device);
  file(device, "first", seed + 1, 13'000);
  file(device, "sparse", seed + 2, 5000, 100'000);
  must(mkdir((root + "/dir").c_str(), 0755), "dir");
  file(device, "dir/long", seed + 3, 300'000);
  must(mkdir((root + "/dir/sub").c_str(), 0755), "sub");
  file(device, "dir/sub/deep", seed + 4, 4096);
  must(link((root + "/first").c_str(), (root + "/dir/sub/second").c_str()), "second");
  must(symlink("dir/long", (root + "/symlink").c_str()), "symlink");
  must(mkfifo((root + "/fifo").c_str(), 0600), "fifo");
  must(setxattr((root + "/first").c_str(), "user.name", "value", 5, 0), "user.name");
  const std::string value(1000, 'x');
  must(setxattr((root + "/dir").c_str(), "trusted.x", value.data(), value.size(), 0), "trusted.x");
  must(chown((root + "/first").c_str(), 1000, 1000), "first");
}

// What lies in the WAL of the killed one.
void MountPools::change(const std::string& device, uint64_t seed) {
  const std::string root = base_.path(device);
  file(device, "late", seed + 1, 50'000);
  file(device, "dir/long", seed + 2, 300'000);
  must(rename((root + "/sparse").c_str(), (root + "/dir/moved").c_str()), "sparse");
  must(unlink((root + "/dir/sub/deep").c_str()), "deep");
  must(mkdir((root + "/more").c_str(), 0700), "more");
  for (int i = 0; i < 10; ++i) file(device, fmt::format("more/{}", i), seed + 10, 3000);
  for (const auto& [name, mounted] : kFsDaxes) {
    if (device != mounted) continue;
    auto moved = written_.extract(name + std::string("/sparse"));
    moved.key() = name + std::string("/dir/moved");
    written_.insert(std::move(moved));
    written_.erase(name + std::string("/dir/sub/deep"));
  }
}

Tree MountPools::read_and_compare(const std::string& pool) {
  const std::string copy = base_.directory() + "/truth";
  copy_pool(pool, copy);
  Tree tree = read_truth(copy + "/pool.db", copy);
  (void)run_ok({"rm", "-r", copy});
  for (const auto& [path, node] : written_) {
    const auto found = tree.find(path);
    if (found == tree.end() || !(found->second == node)) {
      throw std::runtime_error(path + ": undamaged, but the tables say something else");
    }
  }
  return tree;
}

}  // namespace pmemd
