// Random operations on a file system and on a plain model of one; they must agree, always.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>
#include <linux/fs.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "core/base/units.h"
#include "core/filesystem/check.h"
#include "core/filesystem/filesystem.h"
#include "tests/unit/filesystem/mounted_fs.h"

namespace pmemd {
namespace {

constexpr uint64_t kBlock = kPageSize;

struct Node {
  uint64_t ino = 0;
  mode_t mode = 0;
  uint32_t links = 0;
  std::string bytes;  // contents, or a symbolic link's target
  std::map<std::string, std::string> xattrs;
  std::map<std::string, std::shared_ptr<Node>> entries;
  Node* parent = nullptr;

  bool is_dir() const { return S_ISDIR(mode); }
};
using NodePtr = std::shared_ptr<Node>;

class ModelTest : public testing::TestWithParam<int> {
 protected:
  ModelTest() : seed_(std::random_device{}()), random_(seed_) {
    pool_ = must(Pool::create(directory_.path() + "/pool", 34 * kMiB, Reservation::kSparse));
    fs_ = std::make_unique<MountedFs>(*pool_);
    root_ = std::make_shared<Node>();
    root_->ino = fs_->root();
    root_->mode = S_IFDIR | 0755;
    root_->links = 2;
    root_->parent = root_.get();
  }

  uint64_t below(uint64_t end) { return random_() % end; }
  std::string random_name() { return fmt::format("n{}", below(6)); }

  // All directories and all inodes that have a name, or that a pretended kernel holds open.
  void collect(const NodePtr& dir, std::vector<NodePtr>& dirs, std::vector<NodePtr>& others) {
    dirs.push_back(dir);
    for (const auto& [name, node] : dir->entries) {
      if (node->is_dir()) {
        collect(node, dirs, others);
      } else {
        others.push_back(node);
      }
    }
  }
  NodePtr random_dir() {
    std::vector<NodePtr> dirs, others;
    collect(root_, dirs, others);
    return dirs[below(dirs.size())];
  }
  NodePtr random_file() {
    std::vector<NodePtr> dirs, others;
    collect(root_, dirs, others);
    others.insert(others.end(), open_.begin(), open_.end());
    std::erase_if(others, [](const NodePtr& node) { return !S_ISREG(node->mode); });
    return others.empty() ? nullptr : others[below(others.size())];
  }

  void step();
  void create(const NodePtr& dir, const std::string& name);
  void link(const NodePtr& dir, const std::string& name);
  void unlink(const NodePtr& dir, const std::string& name);
  void rename();
  void change_data();
  void write(Node& node, uint64_t offset, uint64_t length);
  void truncate(Node& node, uint64_t size);
  void fallocate(Node& node, uint64_t offset, uint64_t length);
  void change_xattr();
  void open_or_close();
  void drop_link(const NodePtr& node);

  void compare_all();
  void compare(const NodePtr& node);

  const uint64_t seed_;
  std::mt19937_64 random_;
  TemporaryDirectory directory_;
  std::unique_ptr<Pool> pool_;
  std::unique_ptr<MountedFs> fs_;
  NodePtr root_;
  std::vector<NodePtr> open_;  // inodes that the kernel knows, with a name or without
};

void ModelTest::drop_link(const NodePtr& node) {
  node->links = node->is_dir() ? 0 : node->links - 1;
}

void ModelTest::create(const NodePtr& dir, const std::string& name) {
  const bool exists = dir->entries.contains(name);
  auto node = std::make_shared<Node>();
  node->links = 1;
  Result<Attr> made = fail(EIO);
  switch (below(4)) {
    case 0:
      node->mode = S_IFDIR | 0755;
      node->links = 2;
      node->parent = dir.get();
      made = (*fs_)->mkdir(dir->ino, name, 0755, {});
      break;
    case 1:
      node->mode = S_IFLNK | 0777;
      node->bytes = std::string(1 + below(100), 't');
      made = (*fs_)->symlink(dir->ino, name, node->bytes, {});
      break;
    default:
      node->mode = S_IFREG | 0644;
      made = (*fs_)->mknod(dir->ino, name, node->mode, 0, {});
  }
  ASSERT_EQ(made.err(), exists ? EEXIST : 0);
  if (exists) return;
  node->ino = made->ino;
  if (node->is_dir()) dir->links += 1;
  dir->entries[name] = node;
}

void ModelTest::link(const NodePtr& dir, const std::string& name) {
  const NodePtr node = random_file();
  if (!node || node->links == 0) return;  // the kernel sees to that
  const bool exists = dir->entries.contains(name);
  ASSERT_EQ((*fs_)->link(node->ino, dir->ino, name).err(), exists ? EEXIST : 0);
  if (exists) return;
  node->links += 1;
  dir->entries[name] = node;
}

void ModelTest::unlink(const NodePtr& dir, const std::string& name) {
  const auto it = dir->entries.find(name);
  const bool as_dir = below(2) == 0;
  int expected = 0;
  if (it == dir->entries.end()) {
    expected = ENOENT;
  } else if (as_dir != it->second->is_dir()) {
    expected = as_dir ? ENOTDIR : EISDIR;
  } else if (!it->second->entries.empty()) {
    expected = ENOTEMPTY;
  }
  const int err =
      as_dir ? (*fs_)->rmdir(dir->ino, name).err() : (*fs_)->unlink(dir->ino, name).err();
  ASSERT_EQ(err, expected);
  if (err != 0) return;
  if (as_dir) dir->links -= 1;
  drop_link(it->second);
  dir->entries.erase(it);
}

bool lies_below(const Node* dir, const Node* ancestor) {
  while (dir != ancestor && dir->parent != dir) dir = dir->parent;
  return dir == ancestor;
}

void ModelTest::rename() {
  const NodePtr from = random_dir(), to = random_dir();
  const std::string name = random_name(), new_name = random_name();
  const std::array<unsigned, 3> all_flags = {0, RENAME_NOREPLACE, RENAME_EXCHANGE};
  const unsigned flags = all_flags[below(3)];
  const auto find = [](const NodePtr& dir, const std::string& which) {
    const auto it = dir->entries.find(which);
    return it == dir->entries.end() ? nullptr : it->second;
  };
  const NodePtr source = find(from, name), target = find(to, new_name);
  const bool exchange = flags == RENAME_EXCHANGE;
  int expected = 0;
  if (!source || (exchange && !target)) {
    expected = ENOENT;
  } else if (target && flags == RENAME_NOREPLACE) {
    expected = EEXIST;
  } else if (source == target) {
    expected = 0;
  } else if (source->is_dir() && from != to && lies_below(to.get(), source.get())) {
    expected = EINVAL;
  } else if (exchange && target->is_dir() && from != to && lies_below(from.get(), target.get())) {
    expected = EINVAL;
  } else if (target && !exchange && source->is_dir() != target->is_dir()) {
    expected = source->is_dir() ? ENOTDIR : EISDIR;
  } else if (target && !exchange && !target->entries.empty()) {
    expected = ENOTEMPTY;
  }
  ASSERT_EQ((*fs_)->rename(from->ino, name, to->ino, new_name, flags).err(), expected);
  if (expected != 0 || source == target) return;
  const auto move = [](Node& node, const NodePtr& old_dir, const NodePtr& new_dir) {
    if (!node.is_dir()) return;
    old_dir->links -= 1;
    new_dir->links += 1;
    node.parent = new_dir.get();
  };
  from->entries.erase(name);
  to->entries[new_name] = source;
  move(*source, from, to);
  if (exchange) {
    from->entries[name] = target;
    move(*target, to, from);
  } else if (target) {
    if (target->is_dir()) to->links -= 1;
    drop_link(target);
  }
}

void ModelTest::write(Node& node, uint64_t offset, uint64_t length) {
  std::string bytes(length, static_cast<char>('a' + below(26)));
  for (size_t i = 0; i < bytes.size(); i += 97) bytes[i] = static_cast<char>(random_());
  const int err = fs_->write(node.ino, offset, bytes).err();
  if (err == ENOSPC) return;
  ASSERT_EQ(err, 0);
  if (node.bytes.size() < offset + length) node.bytes.resize(offset + length);
  node.bytes.replace(offset, length, bytes);
}

void ModelTest::truncate(Node& node, uint64_t size) {
  ASSERT_EQ(fs_->truncate(node.ino, size).err(), 0);
  node.bytes.resize(size);
}

void ModelTest::fallocate(Node& node, uint64_t offset, uint64_t length) {
  const std::array modes = {0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                            FALLOC_FL_ZERO_RANGE, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE};
  const int mode = modes[below(modes.size())];
  const int err = (*fs_)->fallocate(node.ino, mode, offset, length).err();
  if (err == ENOSPC) return;
  ASSERT_EQ(err, 0);
  const bool keeps_size = (mode & FALLOC_FL_KEEP_SIZE) != 0;
  if (!keeps_size && node.bytes.size() < offset + length) node.bytes.resize(offset + length);
  if ((mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) == 0) return;
  const uint64_t end = std::min<uint64_t>(offset + length, node.bytes.size());
  if (offset < end)
    std::fill(node.bytes.begin() + static_cast<long>(offset),
              node.bytes.begin() + static_cast<long>(end), '\0');
}

void ModelTest::change_data() {
  const NodePtr node = random_file();
  if (!node) return;
  const bool far = below(4) == 0;  // more than a chunk
  const uint64_t offset = below(far ? 6 * kMiB : 10 * kBlock);
  const uint64_t length = 1 + below(far ? 3 * kMiB : 3 * kBlock);
  switch (below(8)) {
    case 0:
      return truncate(*node, offset);
    case 1:
      return truncate(*node, node->bytes.size() / 2);
    case 2:
    case 3:
      return fallocate(*node, offset, length);
    default:
      return write(*node, offset, length);
  }
}

void ModelTest::change_xattr() {
  const NodePtr node = below(2) == 0 ? random_file() : random_dir();
  if (!node) return;
  const std::string name = fmt::format("user.{}", below(3));
  if (below(3) == 0) {
    const bool there = node->xattrs.erase(name) > 0;
    ASSERT_EQ((*fs_)->xattrs().remove(node->ino, name).err(), there ? 0 : ENODATA);
  } else {
    const std::string bytes(below(50), 'v');
    ASSERT_EQ((*fs_)->xattrs().set(node->ino, name, bytes, 0, false).err(), 0);
    node->xattrs[name] = bytes;
  }
}

void ModelTest::open_or_close() {
  if (open_.size() < 4 && below(2) == 0) {
    if (const NodePtr node = random_file()) {
      fs_->lookups().add(node->ino);
      open_.push_back(node);
    }
  } else if (!open_.empty()) {
    const size_t which = below(open_.size());
    const NodePtr node = open_[which];
    open_.erase(open_.begin() + static_cast<long>(which));
    if (fs_->lookups().drop(node->ino, 1)) (*fs_)->forget(node->ino);
  }
}

void ModelTest::step() {
  const uint64_t choice = below(100);
  if (choice < 20) return create(random_dir(), random_name());
  if (choice < 30) return unlink(random_dir(), random_name());
  if (choice < 42) return rename();
  if (choice < 48) return link(random_dir(), random_name());
  if (choice < 85) return change_data();
  if (choice < 92) return change_xattr();
  return open_or_close();
}

void ModelTest::compare(const NodePtr& node) {
  const Attr attr = fs_->attr(node->ino);
  ASSERT_EQ(attr.mode, node->mode);
  ASSERT_EQ(attr.nlink, node->links);
  std::map<std::string, std::string> xattrs;
  for (const std::string& name : must((*fs_)->xattrs().list(node->ino))) {
    xattrs[name] = must((*fs_)->xattrs().get(node->ino, name));
  }
  ASSERT_EQ(xattrs, node->xattrs);
  if (S_ISREG(node->mode)) {
    ASSERT_EQ(attr.size, node->bytes.size());
    ASSERT_TRUE(fs_->read(node->ino, 0, node->bytes.size() + 1) == node->bytes);
  } else if (S_ISLNK(node->mode)) {
    ASSERT_EQ(must((*fs_)->readlink(node->ino)), node->bytes);
  } else {
    std::map<std::string, uint64_t> found, expected;
    must((*fs_)->readdir(node->ino, 0, [&](const DirEntry& entry) {
      found[entry.name] = entry.ino;
      return true;
    }));
    expected["."] = node->ino;
    expected[".."] = node->parent->ino;
    for (const auto& [name, child] : node->entries) expected[name] = child->ino;
    ASSERT_EQ(found, expected);
    for (const auto& [name, child] : node->entries) ASSERT_NO_FATAL_FAILURE(compare(child));
  }
}

void ModelTest::compare_all() {
  ASSERT_NO_FATAL_FAILURE(compare(root_));
  for (const NodePtr& node : open_) ASSERT_NO_FATAL_FAILURE(compare(node));
  must((*fs_)->flush_times());
  for (const Finding& finding : must(check_pool(*pool_))) {
    ADD_FAILURE() << finding.object << ": " << finding.problem;
  }
  uint64_t mapped = 0;
  std::vector<NodePtr> dirs, others;
  collect(root_, dirs, others);
  others.insert(others.end(), open_.begin(), open_.end());
  std::map<uint64_t, uint64_t> blocks;
  for (const NodePtr& node : others) blocks[node->ino] = fs_->attr(node->ino).blocks * 512;
  for (const auto& [ino, bytes] : blocks) mapped += bytes;
  ASSERT_EQ(fs_->free_bytes() + mapped, 32 * kMiB);
}

TEST_P(ModelTest, AgreesWithTheFileSystem) {
  SCOPED_TRACE(testing::Message() << "seed " << seed_);
  for (int round = 0; round < 6; ++round) {
    for (int i = 0; i < 150; ++i) ASSERT_NO_FATAL_FAILURE(step()) << "step " << i;
    ASSERT_NO_FATAL_FAILURE(compare_all()) << "round " << round;
    if (round % 3 == 1) fs_->remount();
    if (round % 3 == 2) fs_->crash();
    if (round % 3 == 0) continue;
    ASSERT_NO_FATAL_FAILURE(compare_all()) << "after remount " << round;
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, ModelTest, testing::Range(0, 4));

}  // namespace
}  // namespace pmemd
