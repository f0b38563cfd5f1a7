#include "core/removal/kernel_holders.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/loop.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <system_error>
#include <utility>

#include "core/base/unique_fd.h"
#include "core/pool/schema.h"

namespace pmemd {
namespace {

// The names of loop devices whose backing file is on that device, by its inode.
std::multimap<uint64_t, std::string> loop_devices(dev_t device_number) {
  std::multimap<uint64_t, std::string> found;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/sys/block", error)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with("loop") || !std::filesystem::exists(entry.path() / "loop", error)) {
      continue;
    }
    const std::string path = "/dev/" + name;
    const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    loop_info64 info = {};
    if (!fd || ioctl(fd.get(), LOOP_GET_STATUS64, &info) != 0) continue;
    if (info.lo_device == device_number) found.emplace(info.lo_inode, name);
  }
  return found;
}

bool is_open(const Reference& handle, const std::vector<const Device*>& devices) {
  for (const Device* device : devices) {
    if (device->record().serial == inode_serial(handle.ino)) {
      return device->claims().has_handle(handle.id);
    }
  }
  return false;
}

Holder kernel_holder(const Reference& handle, std::string how) {
  return {.pid = handle.pid,
          .comm = handle.pid == 0 ? "" : comm_of(handle.pid),
          .kernel = std::move(how),
          .open_files = {{.ino = handle.ino, .path = {}}}};
}

}  // namespace

std::vector<Reference> open_handles(const std::vector<const Device*>& devices) {
  std::vector<Reference> handles;
  for (const Device* device : devices) {
    for (const Reference& reference : device->claims().list()) {
      if (reference.kind == ReferenceKind::kHandle) handles.push_back(reference);
    }
  }
  return handles;
}

void add_kernel_holders(std::vector<Holder>& holders, const std::vector<Reference>& handles,
                        const std::vector<const Device*>& devices, dev_t device_number) {
  std::set<uint64_t> seen;                         // inodes that a process has
  std::set<std::pair<uint64_t, pid_t>> explained;  // by the process that opened it
  for (const Holder& holder : holders) {
    const auto note = [&](const auto& held) {
      seen.insert(held.ino);
      explained.emplace(held.ino, holder.pid);
    };
    for (const Mapping& mapping : holder.mappings) note(mapping);
    for (const OpenFile& file : holder.open_files) note(file);
  }
  std::vector<Reference> others;
  std::ranges::copy_if(handles, std::back_inserter(others), [&](const Reference& handle) {
    return !explained.contains({handle.ino, handle.pid}) && is_open(handle, devices);
  });
  if (others.empty()) return;  // nearly always; no loop device is asked
  const auto loops = loop_devices(device_number);
  std::set<std::string> told;
  for (const Reference& handle : others) {
    // One handle per loop device; another handle of the same file is somebody else's.
    const auto [first, last] = loops.equal_range(handle.ino);
    const auto loop = std::find_if(
        first, last, [&](const auto& of_inode) { return !told.contains(of_inode.second); });
    if (loop != last) {
      told.insert(loop->second);
      holders.push_back(kernel_holder(handle, loop->second));
    } else if (!seen.contains(handle.ino)) {
      const auto opener = process_stat(handle.pid);
      // The opener has just ended: its RELEASE is on its way.
      if (!opener && handle.pid != 0) continue;
      holders.push_back(kernel_holder(handle, "the kernel"));
      if (opener) holders.back().started = opener->started;
    }
  }
}

}  // namespace pmemd
