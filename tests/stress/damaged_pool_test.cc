// A pool whose files have been damaged: it is refused, or what it serves is right. Nothing crashes,
// hangs, or hands out a wrong byte as right.
//
// Each damage (tests/stress/support/damage.h) is done to a copy of one small pool: an fsdax
// namespace, a devdax, a striped volume of two more; with a WAL, as a kill leaves it, where that is
// what is damaged. A child of its own checks it, opens it, enables all, walks and reads all,
// writes, makes, renames and removes files, disables, enables again, and destroys. A crash or a
// hang is the child's end, and is told with what was damaged.
//
// What is right: an answer is an error, or
//  1. it is what the pool held before the damage; or
//  2. it is what the tables say now, read by plain SQLite (tests/stress/support/pool_truth.h): a
//  change
//     that keeps within all rules (a file's name, its size, its times) can't be told from one that
//     pmemd made. But where a clean file system's bytes lie is known by a checksum: no change of
//     `extents` alone is served at all. Data has none, as emulated memory has none: a bit that
//     flips in an image's data is served as it is, also where it is in free space.
// What `check` calls well must be served whole, without an error; save that it may have been
// damaged where only an enable looks (a superblock).
//
// PMEMD_DAMAGES: how many of each kind (60; every value of every column: 100000).
// PMEMD_DAMAGE_SEED: the first seed.
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "core/base/units.h"
#include "core/device/device.h"
#include "core/filesystem/check.h"
#include "core/pool/pool.h"
#include "tests/stress/support/damage.h"
#include "tests/stress/support/pool_truth.h"
#include "tests/unit/device/device_pool.h"
#include "tests/unit/temporary_directory.h"

namespace pmemd {
namespace {

constexpr uint64_t kSpaceBytes = 8 * kMiB;
constexpr unsigned kDeadlineS = 60;
constexpr int kDepthMax = 6;
constexpr size_t kEntriesMax = 1000;

std::string random_bytes(uint64_t seed, size_t length) {
  std::mt19937_64 random(seed);
  std::string bytes(length, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

// A pool and the devices on it, as a daemon has them.
class Machine {
 public:
  explicit Machine(Pool& pool) : pool_(pool) {
    for (const NamespaceRecord& record : pool.namespaces()) {
      const auto region = pool.region(record.region);
      if (region) add(std::make_shared<Device>(pool, registry_, *region, record));
    }
    for (const VolumeRecord& record : pool.volumes()) {
      std::vector<std::shared_ptr<Device>> legs;
      for (const uint64_t leg : record.legs) {
        for (const auto& device : devices_) {
          if (device->record().serial == leg) legs.push_back(device);
        }
      }
      if (legs.size() == record.legs.size()) {
        add(std::make_shared<Device>(pool, registry_, record, legs));
      }
    }
  }
  ~Machine() { disable_all(); }
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  const std::vector<std::shared_ptr<Device>>& devices() const { return devices_; }

  void enable_all(std::vector<Error>& errors) {
    for (const auto& device : devices_) {
      if (auto enabled = device->enable(); !enabled) errors.push_back(enabled.error());
    }
  }
  // Volumes before their legs.
  void disable_all() {
    for (auto at = devices_.rbegin(); at != devices_.rend(); ++at) {
      Device& device = **at;
      if (device.state() != Device::State::kLive) continue;
      (void)device.kill(false);
      device.stop_writeback();
      (void)device.release(deadline_after(std::chrono::seconds(10)), false);
    }
  }
  void destroy_all() {
    for (const VolumeRecord& record : pool_.volumes()) (void)pool_.destroy_volume(record);
    for (const NamespaceRecord& record : pool_.namespaces()) (void)pool_.destroy_namespace(record);
  }

 private:
  void add(std::shared_ptr<Device> device) { devices_.push_back(std::move(device)); }

  Pool& pool_;
  PagemapRegistry registry_;
  std::vector<std::shared_ptr<Device>> devices_;  // legs before volumes
};

// All that can be found of one device's files, and what came of it.
class Walk {
 public:
  Walk(Device& device, Tree& found, int& errors)
      : device_(device), found_(found), errors_(errors) {}

  void run() {
    const auto request = device_.admit(Admission::kRequest);
    if (!request) return fail();
    (void)request->fs().statfs();
    visit(request->fs(), request->fs().root(), std::string(device_.record().name()), 0);
    const uint64_t bytes = request->media().size_bytes();
    FailedParts parts;
    if (!request->fs().owners({{0, bytes}}, parts)) fail();
    (void)request->fs().paths(inos_);
  }
  const std::string& wrong() const { return wrong_; }

 private:
  void fail() { ++errors_; }

  void visit(FileSystem& fs, uint64_t ino, const std::string& path, int depth) {
    const auto attr = fs.getattr(ino);
    if (!attr) return fail();
    inos_.insert(ino);
    Node node{.type = attr->mode & S_IFMT, .size = S_ISDIR(attr->mode) ? 0 : attr->size};
    if (S_ISREG(attr->mode)) {
      const auto bytes = head(fs, ino, attr->size);
      if (!bytes) return fail();
      node.bytes = *bytes;
    } else if (S_ISLNK(attr->mode)) {
      const auto target = fs.readlink(ino);
      if (!target) return fail();
      node.bytes = *target;
    }
    read_attributes(fs, ino);
    found_[path] = node;
    if (S_ISDIR(attr->mode) && depth < kDepthMax) list(fs, ino, path, depth);
  }

  static Result<std::string> head(FileSystem& fs, uint64_t ino, uint64_t size) {
    PMEMD_ASSIGN(const auto parts, fs.read(ino, {0, std::min(size, kHeadBytes)}));
    std::string bytes;
    for (const iovec& part : parts) {
      bytes.append(static_cast<const char*>(part.iov_base), part.iov_len);
    }
    PMEMD_TRY(fs.extents(ino));
    (void)fs.lseek(ino, 0, SEEK_HOLE, {});
    return bytes;
  }

  void read_attributes(FileSystem& fs, uint64_t ino) {
    const auto names = fs.xattrs().list(ino);
    if (!names) return fail();
    for (const std::string& name : *names) {
      if (!fs.xattrs().get(ino, name)) fail();
    }
  }

  void list(FileSystem& fs, uint64_t ino, const std::string& path, int depth) {
    std::vector<DirEntry> entries;
    const auto take = [&](const DirEntry& entry) {
      if (entry.name != "." && entry.name != "..") entries.push_back(entry);
      return entries.size() < kEntriesMax;
    };
    if (!fs.readdir(ino, 0, take)) fail();
    const auto take_more = [&](const DirEntry& entry, const Attr&) { return take(entry); };
    const size_t listed = entries.size();
    if (!fs.readdirplus(ino, 0, take_more)) fail();
    entries.resize(listed);
    for (const DirEntry& entry : entries) {
      const auto attr = fs.lookup(ino, entry.name);
      if (!attr) {
        fail();
        continue;
      }
      if (attr->ino != entry.ino) {
        wrong_ +=
            fmt::format("{}/{}: two inodes, {} and {}\n", path, entry.name, attr->ino, entry.ino);
      }
      visit(fs, attr->ino, path + "/" + entry.name, depth + 1);
    }
  }

  Device& device_;
  Tree& found_;
  int& errors_;
  std::set<uint64_t> inos_;
  std::string wrong_;
};

// What programs do with a file system; errors are theirs, but what was written is read again. What
// lies before it was never written, and reads as zeros, unless bits of free space have flipped.
std::string use(FileSystem& fs, uint64_t root, bool is_free_space_zero) {
  const std::string data = random_bytes(7, 100'000);
  const auto file = fs.mknod(root, "new", S_IFREG | 0644, 0, {});
  if (!file) return {};
  const auto written = fs.write(file->ino, 5000, std::as_bytes(std::span(data)));
  if (written) {
    const auto parts = fs.read(file->ino, FileRange::sized(0, 5000 + data.size()));
    std::string bytes;
    if (parts) {
      for (const iovec& part : *parts) {
        bytes.append(static_cast<const char*>(part.iov_base), part.iov_len);
      }
      if (!bytes.ends_with(data)) return "what was written isn't read\n";
      if (is_free_space_zero && bytes != std::string(5000, '\0') + data)
        return "a hole isn't zeros\n";
    }
  }
  (void)fs.fsync(file->ino, false);
  (void)fs.xattrs().set(file->ino, "user.new", "value", 0, false);
  (void)fs.fallocate(file->ino, 0, kMiB, 64 * kKiB);
  if (const auto dir = fs.mkdir(root, "new-dir", 0755, {})) {
    (void)fs.rename(root, "new", dir->ino, "moved", 0);
    (void)fs.link(file->ino, root, "new");
    (void)fs.rename(root, "dir", dir->ino, "dir", 0);
    (void)fs.rename(dir->ino, "dir", root, "dir", 0);
    (void)fs.unlink(dir->ino, "moved");
    (void)fs.rmdir(root, "new-dir");
  }
  SetAttr change;
  change.size = 100;
  (void)fs.setattr(file->ino, change);
  (void)fs.unlink(root, "new");
  return {};
}

// All files and directories go that can go.
void remove_below(FileSystem& fs, uint64_t dir, int depth) {
  std::vector<DirEntry> entries;
  (void)fs.readdir(dir, 0, [&](const DirEntry& entry) {
    if (entry.name != "." && entry.name != "..") entries.push_back(entry);
    return entries.size() < kEntriesMax;
  });
  for (const DirEntry& entry : entries) {
    if (entry.type == S_IFDIR && depth < kDepthMax) remove_below(fs, entry.ino, depth + 1);
    if (!fs.unlink(dir, entry.name)) (void)fs.rmdir(dir, entry.name);
  }
}

// --- the pool before the damage

void fill(FileSystem& fs, uint64_t seed) {
  const auto make = [&](uint64_t parent, const char* name, size_t length, uint64_t offset) {
    const uint64_t ino = must(fs.mknod(parent, name, S_IFREG | 0640, 0, {.uid = 1000})).ino;
    const std::string bytes = random_bytes(++seed, length);
    must(fs.write(ino, offset, std::as_bytes(std::span(bytes))));
    return ino;
  };
  const uint64_t root = fs.root();
  const uint64_t first = make(root, "first", 13'000, 0);
  make(root, "sparse", 5000, 100'000);
  const uint64_t dir = must(fs.mkdir(root, "dir", 0755, {})).ino;
  make(dir, "long", 300'000, 0);
  const uint64_t sub = must(fs.mkdir(dir, "sub", 0755, {})).ino;
  make(sub, "deep", 4096, 0);
  must(fs.link(first, sub, "second"));
  must(fs.symlink(root, "symlink", "dir/long", {}));
  must(fs.xattrs().set(first, "user.name", "value", 0, false));
  must(fs.xattrs().set(dir, "trusted.x", std::string(1000, 'x'), 0, false));
  must(fs.flush_times());
}

// Makes it in `clean`, and in `killed` as it is while it is in use.
void make_pool(const std::string& clean, const std::string& killed) {
  const auto pool = must(Pool::create(clean, kSpaceBytes, Reservation::kSparse));
  for (const auto mode : {NamespaceMode::kDevDax, NamespaceMode::kFsDax, NamespaceMode::kFsDax}) {
    const auto region = must(pool->create_region(kSpaceBytes, Reservation::kSparse));
    must(pool->create_namespace({.region = region.id, .mode = mode}));
  }
  const auto spaces = pool->namespaces();
  must(pool->create_volume(VolumeType::kStriped, 64 * kKiB,
                           {spaces.at(2).serial, spaces.at(3).serial}));
  must(pool->set_settings(spaces.at(0).serial, {{"clear-unit", "256"}}));
  must(pool->media_errors(1)->inject({{4 * kMiB, 4 * kMiB + 100}}, {{4 * kMiB, 4 * kMiB + 100}}));
  Machine machine(*pool);
  std::vector<Error> errors;
  machine.enable_all(errors);
  ASSERT_TRUE(errors.empty()) << errors.front().describe();
  uint64_t seed = 1;
  for (const auto& device : machine.devices()) {
    if (device->content().root_type() != S_IFDIR || device->above() != nullptr) continue;
    fill(must(device->admit(Admission::kRequest)).fs(), seed += 100);
  }
  {
    MutexLock lock(pool->database().mutex());
    must(pool->database().execute(
        "INSERT INTO events VALUES (1, 5, 'enabled', 'namespace0.0', 0, 100, NULL, NULL, NULL),"
        " (2, 6, 'memory-failure', 'namespace0.0', 0, 100, x'2f61', 0, 100);"
        "UPDATE meta SET next_event = 3"));
  }
  std::filesystem::copy(clean, killed, std::filesystem::copy_options::recursive);
}

// --- one damage

// All that is right to answer, and all that must be answered if nothing is wrong.
struct Expected {
  Tree before, tables;
  bool is_well = false;            // says `check`
  bool is_free_space_zero = true;  // no byte of it was damaged

  std::string judge(const Tree& found, int errors) const {
    std::string wrong;
    for (const auto& [path, node] : found) {
      const auto is = [&](const Tree& tree) {
        const auto at = tree.find(path);
        return at != tree.end() && at->second == node;
      };
      // The tables may be older than its first enable, which makes one.
      const bool is_root = path.find('/') == path.npos && S_ISDIR(node.type);
      if (!is_root && !is(before) && !is(tables)) {
        wrong += fmt::format(
            "{}: type {:o}, {} bytes, which are neither the old ones nor what the"
            " tables say\n",
            path, node.type, node.size);
      }
    }
    if (!is_well) return wrong;
    if (errors > 0) wrong += fmt::format("check is content, but {} errors were told\n", errors);
    for (const auto& [path, node] : tables) {
      if (!found.contains(path)) wrong += path + ": check is content, but it isn't served\n";
    }
    return wrong;
  }
};

bool is_check_content(const std::string& directory) {
  const auto pool = Pool::open(directory, Pool::Mode::kReadOnly);
  if (!pool) return false;
  const auto findings = check_pool(**pool);
  return findings && findings->empty();
}

// Whether a device has memory that can't be read: a row of badblocks may say so, and be right.
bool has_bad(Device& device) {
  const auto request = device.admit(Admission::kMedia, {});
  return request && !request->media().bad({0, request->media().size_bytes()}).empty();
}

Tree walk_all(const Machine& machine, int& errors, std::string& wrong) {
  Tree found;
  for (const auto& device : machine.devices()) {
    if (device->content().root_type() != S_IFDIR || !device->is_shown()) continue;
    int ignored = 0;
    Walk walk(*device, found, has_bad(*device) ? ignored : errors);
    walk.run();
    wrong += walk.wrong();
  }
  return found;
}

// Serves it twice, writing in between.
std::string serve(Pool& pool, const Expected& expected) {
  Machine machine(pool);
  std::vector<Error> refused;
  machine.enable_all(refused);
  std::string wrong;
  for (const Error& error : refused) {
    // A superblock is looked at by an enable alone; a leg's volume, and what is poisoned, follow.
    const bool is_possible = error.err() == EUCLEAN || error.err() == ENXIO ||
                             error.message.find("poisoned") != std::string::npos;
    if (expected.is_well && !is_possible) {
      wrong += "check is content, but enable: " + error.describe() + "\n";
    }
  }
  Expected wanted = expected;
  if (!refused.empty()) wanted.is_well = false;
  int errors = 0;
  const Tree found = walk_all(machine, errors, wrong);
  wrong += wanted.judge(found, errors);
  for (const auto& device : machine.devices()) {
    if (device->content().root_type() != S_IFDIR || !device->is_shown()) continue;
    if (const auto request = device->admit(Admission::kRequest)) {
      wrong += use(request->fs(), request->fs().root(), expected.is_free_space_zero);
    }
  }
  machine.disable_all();
  refused.clear();
  machine.enable_all(refused);
  // Only what was found before, and as it was: what was written went elsewhere.
  // An entry that was an error may have come right with the pages that were written since.
  Tree once = expected.tables;
  once.insert(expected.before.begin(), expected.before.end());
  wanted = {.before = found, .tables = std::move(once), .is_well = false};
  Tree again = walk_all(machine, errors, wrong);
  // What use() has left, where an error kept it from removing it.
  std::erase_if(again, [](const auto& item) { return item.first.find("/new") != item.first.npos; });
  wrong += wanted.judge(again, errors);
  for (const auto& device : machine.devices()) {
    if (device->content().root_type() != S_IFDIR || !device->is_shown()) continue;
    if (const auto request = device->admit(Admission::kRequest)) {
      remove_below(request->fs(), request->fs().root(), 0);
    }
  }
  machine.disable_all();
  return wrong;
}

// What was damaged, as far as it changes what is right.
enum class Damaged { kExtents, kData, kOther };

Damaged what_of(DamageKind kind, const std::string& what) {
  if (kind == DamageKind::kData) return Damaged::kData;
  return is_of_extents(kind, what) ? Damaged::kExtents : Damaged::kOther;
}

// What is wrong with how the damaged pool was served; empty: nothing.
std::string run_damaged(const std::string& directory, const std::string& copy, const Tree& before,
                        Damaged damaged) {
  std::error_code ignored;
  std::filesystem::create_directory(copy, ignored);
  for (const char* const name : {"/pool.db", "/pool.db-wal"}) {
    std::filesystem::copy_file(directory + name, copy + name, ignored);
  }
  Expected expected{.before = before,
                    .tables = read_truth(copy + "/pool.db", directory),
                    .is_free_space_zero = damaged != Damaged::kData};
  expected.is_well = is_check_content(directory);
  // Some values are what they were.
  if (damaged == Damaged::kExtents && expected.tables != before) {
    if (expected.is_well) return "check is content with other extents\n";
    expected.tables.clear();
  }
  std::string wrong;
  {
    const auto pool = Pool::open(directory, Pool::Mode::kReadWrite);
    if (!pool) {
      return expected.is_well ? "check is content, but open: " + pool.error().describe() + "\n"
                              : std::string();
    }
    wrong = serve(**pool, expected);
    if (expected.is_well) {
      for (const Finding& finding : must(check_pool(**pool))) {
        wrong +=
            fmt::format("check was content, and then: {}: {}\n", finding.object, finding.problem);
      }
    }
    Machine(**pool).destroy_all();
  }
  (void)is_check_content(directory);
  return wrong;
}

class DamagedPool : public testing::TestWithParam<DamageKind> {
 protected:
  static void SetUpTestSuite() {
    base_ = std::make_unique<TemporaryDirectory>(TemporaryDirectory::Place::kInMemory);
    make_pool(base_->path() + "/clean", base_->path() + "/killed");
  }
  static void TearDownTestSuite() { base_.reset(); }

  static uint64_t from_environment(const char* name, uint64_t otherwise) {
    const char* const text = std::getenv(name);
    return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
  }

  // In a child, so that its end is only its own.
  static std::string in_child(const std::string& directory, const std::string& copy,
                              const Tree& before, Damaged damaged) {
    const std::string report = copy + ".report";
    const pid_t child = ::fork();
    if (child == 0) {
      ::alarm(kDeadlineS);
      const std::string wrong = run_damaged(directory, copy, before, damaged);
      const UniqueFd fd(::open(report.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
      const bool is_told = ::write(fd.get(), wrong.data(), wrong.size()) >= 0;
      ::_exit(wrong.empty() && is_told ? 0 : 1);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM) return "it hangs";
    if (WIFSIGNALED(status)) return fmt::format("it ends by signal {}", WTERMSIG(status));
    std::ostringstream told;
    told << std::ifstream(report).rdbuf();
    return fmt::format("exit {}: {}", WEXITSTATUS(status), told.str());
  }

  static std::unique_ptr<TemporaryDirectory> base_;
};

std::unique_ptr<TemporaryDirectory> DamagedPool::base_;

TEST_P(DamagedPool, IsRefusedOrServedRight) {
  const DamageKind kind = GetParam();
  const std::string base = base_->path() + (kind == DamageKind::kWal ? "/killed" : "/clean");
  const bool is_value = kind == DamageKind::kValue;
  uint64_t count = from_environment("PMEMD_DAMAGES", 60) * (is_value ? 3 : 1);
  if (is_value) count = std::min(count, value_damages());
  const uint64_t first = from_environment("PMEMD_DAMAGE_SEED", 1);
  const TemporaryDirectory scratch(TemporaryDirectory::Place::kInMemory);
  Tree before;
  {
    std::filesystem::copy(base, scratch.path() + "/before");
    before = read_truth(scratch.path() + "/before/pool.db", base);
    ASSERT_GT(before.size(), 15U);
    EXPECT_EQ(
        in_child(scratch.path() + "/before", scratch.path() + "/copy", before, Damaged::kOther), "")
        << "undamaged";
  }
  uint64_t done = 0;
  for (uint64_t seed = first; seed < first + count; ++seed) {
    const std::string directory = fmt::format("{}/{}", scratch.path(), seed);
    std::filesystem::copy(base, directory);
    // A prime, so that few damages are of all columns and values.
    const uint64_t index = seed * 7919 % value_damages();
    if (const auto what = damage(directory, kind, index, seed)) {
      ++done;
      const std::string wrong =
          in_child(directory, directory + ".copy", before, what_of(kind, *what));
      EXPECT_EQ(wrong, "") << "PMEMD_DAMAGE_SEED=" << seed << " PMEMD_DAMAGES=1: " << *what;
    }
    std::error_code ignored;
    std::filesystem::remove_all(directory, ignored);
    std::filesystem::remove_all(directory + ".copy", ignored);
  }
  std::printf("seeds %lu to %lu: %lu damages\n", first, first + count - 1, done);
  EXPECT_GE(done, count == 1 ? 0 : count / 4);
}

INSTANTIATE_TEST_SUITE_P(OfEachKind, DamagedPool, testing::ValuesIn(kDamageKinds),
                         [](const auto& kind) { return std::string(name_of(kind.param)); });

}  // namespace
}  // namespace pmemd
