#include "tests/stress/support/mount_session.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "core/base/unique_fd.h"
#include "tests/stress/support/mount_pools.h"
#include "tests/stress/support/mount_programs.h"

namespace pmemd {
namespace {

// What a verb may say of a damaged pool.
const std::set<int> kLegalErrnos = {EBUSY, ENXIO,      ENOENT,  EINVAL,    ENOSPC,   ENOMEM,
                                    EIO,   EOPNOTSUPP, EUCLEAN, ENOTEMPTY, ETIMEDOUT};

}  // namespace

MountSession::MountSession(const SessionOptions& options)
    : options_(options), control_(options.daemon.socket()) {}

std::string MountSession::run() {
  list_objects();
  const bool all_enabled = enable_all();
  ask_about_all();
  Expected expected = options_.expected;
  expected.is_well = expected.is_well && all_enabled;
  const MountWalk first = walk();
  wrong_ += expected.judge(first, bad_);
  use_all();
  const std::set<std::string> changed = change_one_of_each(first);

  disable_all();
  (void)enable_all();
  // Only what was found before, and as it was. What was an error may have come right with the pages
  // that were written since.
  Expected again = {.before = first.found, .tables = options_.expected.tables};
  again.tables.insert(options_.expected.before.begin(), options_.expected.before.end());
  MountWalk second = walk();
  const auto is_new = [&](const std::string& path) {
    return path.find("/new") != path.npos || changed.contains(path);
  };
  std::erase_if(second.found, [&](const auto& item) { return is_new(item.first); });
  std::erase_if(second.pieces, [&](const FilePiece& piece) { return is_new(piece.path); });
  wrong_ += again.judge(second, bad_);

  for (const Object& object : objects_) {
    if (object.is_fsdax() && object.is_shown) {
      change_and_remove_all(options_.daemon.path(object.mounted), options_.seed);
    }
  }
  if (options_.seed % 3 == 0) destroy_all();
  (void)call("Check");
  list_objects();
  return wrong_;
}

std::optional<Json> MountSession::call(const std::string& method, const Json& parameters) {
  auto answer = control_.call(method, parameters);
  if (answer.done()) return std::move(answer.parameters);
  const bool names_object = answer.message().find(": ") != std::string::npos;
  if (answer.error != "org.pmemd.Failed" || !kLegalErrnos.contains(answer.err()) || !names_object) {
    wrong_ += fmt::format("{} {}: not an answer: {} {}\n", method, parameters.dump(), answer.error,
                          answer.parameters.dump().substr(0, 500));
  }
  return std::nullopt;
}

void MountSession::stream(const std::string& method, const Json& parameters) {
  ControlStream stream(options_.daemon.socket());
  stream.send(method, parameters);
  uint64_t last = 0;
  for (;;) {
    const auto reply = stream.receive(kPatience);
    if (!reply) {
      wrong_ += method + ": no end in time\n";
      return;
    }
    const Json told = reply->value("parameters", Json::object());
    if (const auto event = told.find("event"); event != told.end()) {
      const uint64_t seq = event->at("seq");
      if (seq <= last) wrong_ += fmt::format("event {} after {}\n", seq, last);
      last = seq;
    }
    if (!reply->value("continues", false)) return;
  }
}

void MountSession::list_objects() {
  objects_.clear();
  regions_.clear();
  bases_.clear();
  const auto all = call("List", {{"regions", true},
                                 {"namespaces", true},
                                 {"volumes", true},
                                 {"idle", true},
                                 {"media_errors", true}});
  if (!all) {
    wrong_ += "can't be listed\n";
    return;
  }
  for (const Json& region : all->value("regions", Json::array())) {
    regions_.push_back(region.at("dev"));
    bases_.push_back(region.at("base"));
  }
  for (const char* const kind : {"namespaces", "volumes"}) {
    for (const Json& one : all->value(kind, Json::array())) {
      Object object;
      object.name = one.at("dev");
      object.is_volume = one.contains("legs");
      object.mode = one.value("mode", "");
      object.mounted =
          one.value("chardev", one.value("blockdev", std::string()));  // if it is shown
      object.is_enabled = !one.contains("state");
      object.is_shown = object.is_enabled && !one.contains("volume");
      // Its info block has both.
      const auto known = options_.modes.find(one.at("uuid"));
      if (!object.is_volume && object.is_enabled &&
          (known == options_.modes.end() || known->second != object.mode)) {
        wrong_ += object.name + ": served, with another uuid or mode than it had\n";
      }
      objects_.push_back(std::move(object));
    }
  }
}

// Whether all are.
bool MountSession::enable_all() {
  bool all = true;
  for (const Object& object : objects_) {  // legs before volumes
    if (object.is_enabled) continue;
    const auto answer = control_.call("EnableNamespace", {{"namespace", object.name}});
    if (answer.done()) continue;
    all = false;
    const std::string& message = answer.message();
    if (!answer.message().starts_with(object.name) || !kLegalErrnos.contains(answer.err()) ||
        !answer.parameters.contains("hint")) {
      wrong_ += fmt::format("enable {}: refused without a name, a cause or a way on: {}\n",
                            object.name, answer.parameters.dump());
    }
    // A superblock is looked at by an enable alone; a leg's volume, and what is poisoned, follow.
    const bool is_possible = answer.err() == EUCLEAN || answer.err() == ENXIO ||
                             message.find("poisoned") != std::string::npos;
    if (options_.expected.is_well && !is_possible) {
      wrong_ += "check is content, but enable: " + message + "\n";
    }
  }
  list_objects();
  return all;
}

void MountSession::disable_all() {
  for (auto object = objects_.rbegin(); object != objects_.rend(); ++object) {
    if (!object->is_enabled) continue;
    (void)call("DisableNamespace", {{"namespace", object->name}, {"force", true}});
  }
  list_objects();
}

void MountSession::ask_about_all() {
  bad_.clear();
  for (const char* const method : {"Status", "Mappers", "Check"}) {
    const auto answer = call(method);
    if (std::string_view(method) != "Check" || !answer || !options_.expected.is_well) continue;
    for (const Json& finding : answer->at("findings")) {
      wrong_ += "check was content without a daemon, and now: " + finding.dump() + "\n";
    }
  }
  for (const uint64_t base : bases_) {
    for (const uint64_t offset : {uint64_t{0}, uint64_t{3} << 20}) {
      (void)call("Explain", {{"address", base + offset}});
    }
  }
  for (const std::string& region : regions_) (void)call("BadBlocks", {{"object", region}});
  for (const Object& object : objects_) ask_about(object);
  (void)call("StartScrub");
  stream("WaitScrub", Json::object());
  stream("Monitor", {{"since", 0}, {"follow", false}});
}

void MountSession::ask_about(const Object& object) {
  const Json name = {{"namespace", object.name}};
  for (const char* const method : {"Refs", "Settings", "Mappers"}) (void)call(method, name);
  const auto known = call("BadBlocks", {{"object", object.name}});
  const auto injected = call("InjectedErrors", name);
  if (!known || known->value("badblock_count", 0) > 0 || !injected ||
      !injected->value("badblocks", Json::array()).empty()) {
    bad_.insert(object.name);
  }
  (void)call("Prefault", name);
  if (object.is_fsdax()) {
    (void)call("Prefault", {{"file", object.name + ":/dir/long"}});
  }
}

// The whole mount.
MountWalk MountSession::walk() {
  MountWalk walk;
  std::set<std::string> wanted, found;
  for (const Object& object : objects_) {
    if (object.is_shown) wanted.insert(object.mounted);
  }
  const auto close = [](DIR* dir) { closedir(dir); };
  const std::unique_ptr<DIR, decltype(close)> root(opendir(options_.daemon.mount().c_str()), close);
  while (root) {
    const dirent* const entry = readdir(root.get());
    if (entry == nullptr) break;
    if (entry->d_name[0] != '.') found.insert(entry->d_name);
  }
  if (found != wanted) wrong_ += "the mount shows other devices than list does\n";
  struct statvfs space = {};
  (void)statvfs(options_.daemon.mount().c_str(), &space);
  for (const Object& object : objects_) {
    if (!object.is_shown) continue;
    (void)statvfs(options_.daemon.path(object.mounted).c_str(), &space);
    if (object.is_fsdax()) {
      walk.look(options_.daemon.path(object.mounted), object.name);
    } else {
      look_at_device(object);
    }
  }
  return walk;
}

// A devdax has what its image has there; volatile memory is zeros, or that.
void MountSession::look_at_device(const Object& object) {
  const UniqueFd fd(open(options_.daemon.path(object.mounted).c_str(), O_RDWR | O_CLOEXEC));
  if (!fd) return;
  std::string bytes(kDevDaxBytes, '\0');
  const ssize_t got = pread(fd.get(), bytes.data(), bytes.size(), 0);
  bytes.resize(got < 0 ? 0 : static_cast<size_t>(got));
  std::string mapped;
  for (const auto& page : read_mapped(fd.get(), 0, kDevDaxBytes)) {
    if (!page) break;
    mapped += *page;
  }
  if (object.mode != "devdax") return;
  const UniqueFd image(open((options_.pool + "/region1.img").c_str(), O_RDONLY | O_CLOEXEC));
  std::string right(kDevDaxBytes, '\0');
  if (pread(image.get(), right.data(), right.size(), kDevDaxImageOffset) < 0) return;
  if (!right.starts_with(bytes) || !right.starts_with(mapped)) {
    wrong_ += object.name + ": other bytes than its image has\n";
  }
  if (options_.expected.is_well && !bad_.contains(object.name) && mapped != right) {
    wrong_ += object.name + ": check is content, but it can't be read\n";
  }
}

void MountSession::use_all() {
  for (const Object& object : objects_) {
    if (!object.is_fsdax() || !object.is_shown) continue;
    wrong_ += use_directory(options_.daemon.path(object.mounted), options_.expected.is_well);
  }
  (void)call("Check");
}

// Of each device one file, which is also held open and mapped while all is asked. Its paths.
std::set<std::string> MountSession::change_one_of_each(const MountWalk& before) {
  std::set<std::string> changed;
  for (const Object& object : objects_) {
    if (!object.is_fsdax() || !object.is_shown) continue;
    std::vector<std::string> files;
    for (const auto& [path, node] : before.found) {
      if (device_in(path) == object.name && S_ISREG(node.type)) files.push_back(path);
    }
    if (files.empty()) continue;
    const std::string& file = files[options_.seed % files.size()];
    const std::string at = options_.daemon.path(object.mounted) + file.substr(object.name.size());
    wrong_ += change_file(at, options_.seed);
    const UniqueFd held(open(at.c_str(), O_RDONLY | O_CLOEXEC));
    if (held) (void)read_mapped(held.get(), 0, 8192);
    for (const char* const method : {"Mappers", "Refs"}) {
      (void)call(method, {{"namespace", object.name}});
    }
    for (const auto& [path, ino] : before.inos) {
      if (ino == before.inos.at(file)) changed.insert(path);
    }
  }
  return changed;
}

void MountSession::destroy_all() {
  for (const bool is_volume : {true, false}) {
    for (const Object& object : objects_) {
      if (object.is_volume != is_volume) continue;
      (void)call(is_volume ? "DestroyVolume" : "DestroyNamespace",
                 {{is_volume ? "volume" : "namespace", object.name}, {"force", true}});
    }
  }
}

}  // namespace pmemd
