#include "tests/integration/support/file_model.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <stdexcept>

#include "core/base/unique_fd.h"
#include "tests/integration/support/client_memory.h"
#include "tests/integration/support/harness.h"

namespace pmemd {
namespace {

namespace stdfs = std::filesystem;

constexpr uint64_t kMaxFileSize = 256 * 1024;
constexpr size_t kMaxWrite = 40'000;
constexpr const char* kXattr = "user.model";

int errno_of(long result) { return result < 0 ? errno : 0; }

// The daemon is dead, or died with the request. EIO: a write that wanted the rest of its page
// first.
bool is_gone(int error) { return error == ENOTCONN || error == ECONNABORTED || error == EIO; }

// What a random operation may be refused with.
bool is_refusal(int error) {
  static constexpr std::array kRefusals{ENOENT, EEXIST, ENOTDIR, EISDIR,    ENOTEMPTY,
                                        EINVAL, ELOOP,  EPERM,   EOPNOTSUPP};
  return std::ranges::find(kRefusals, error) != kRefusals.end();
}

}  // namespace

std::string FileModel::some_name() {
  std::vector<std::string> directories{""};
  for (const auto& [name, key] : tree_.names) {
    if (S_ISDIR(tree_.inodes.at(key).mode)) directories.push_back(name + "/");
  }
  return directories[below(directories.size())] + fmt::format("n{}", below(8));
}

std::string FileModel::some_existing() {
  if (tree_.names.empty()) return "";
  return std::next(tree_.names.begin(), static_cast<long>(below(tree_.names.size())))->first;
}

FileModel::Operation FileModel::choose() {
  // What grows the tree and what writes comes more often.
  static constexpr std::array kOften{Kind::kCreate, Kind::kCreate, Kind::kWrite, Kind::kWrite,
                                     Kind::kWrite,  Kind::kStore,  Kind::kRename};
  const uint64_t dice = below(static_cast<uint64_t>(Kind::kCount) + kOften.size());
  Operation op;
  op.kind = dice < kOften.size() ? kOften[dice] : static_cast<Kind>(dice - kOften.size());
  const bool makes =
      op.kind == Kind::kCreate || op.kind == Kind::kMkdir || op.kind == Kind::kSymlink;
  op.path = makes ? some_name() : some_existing();
  if (op.kind == Kind::kLink || op.kind == Kind::kRename) op.path2 = some_name();
  op.mode = static_cast<mode_t>(below(01000) | 0700);  // an ordinary user goes on, too
  op.offset = below(kMaxFileSize - kMaxWrite);
  op.bytes = pattern(random_(), 1 + below(op.kind == Kind::kSetXattr ? 300 : kMaxWrite));
  if (op.kind == Kind::kSymlink) op.bytes = fmt::format("target{}", below(1000));
  return op;
}

bool FileModel::step() {
  const Operation operation = choose();
  const int error = perform(operation);
  if (is_gone(error)) {
    in_doubt_ = operation;
    return false;
  }
  ++operations_;
  if (error != 0 && !is_refusal(error)) {
    throw std::runtime_error(fmt::format("operation {} on {} {}: {}",
                                         static_cast<int>(operation.kind), operation.path,
                                         operation.path2, errno_name(error)));
  }
  if (error == 0) apply(tree_, operation, next_key_++);
  return true;
}

int FileModel::perform(const Operation& op) const {
  const std::string path = root_ + "/" + op.path, path2 = root_ + "/" + op.path2;
  if (op.path.empty()) return ENOENT;
  switch (op.kind) {
    case Kind::kMkdir:
      return errno_of(mkdir(path.c_str(), op.mode | 0700));
    case Kind::kSymlink:
      return errno_of(symlink(op.bytes.c_str(), path.c_str()));
    case Kind::kLink:
      return errno_of(link(path.c_str(), path2.c_str()));
    case Kind::kUnlink:
      return errno_of(unlink(path.c_str()));
    case Kind::kRmdir:
      return errno_of(rmdir(path.c_str()));
    case Kind::kRename:
      return errno_of(rename(path.c_str(), path2.c_str()));
    case Kind::kChmod:
      return errno_of(fchmodat(AT_FDCWD, path.c_str(), op.mode, AT_SYMLINK_NOFOLLOW));
    case Kind::kSetXattr:
      return errno_of(lsetxattr(path.c_str(), kXattr, op.bytes.data(), op.bytes.size(), 0));
    default:
      return perform_on_file(op);
  }
}

int FileModel::perform_on_file(const Operation& op) const {
  const std::string path = root_ + "/" + op.path;
  const int flags = op.kind == Kind::kCreate ? O_CREAT | O_EXCL : 0;
  const UniqueFd fd(open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags, op.mode));
  if (!fd) return errno;
  switch (op.kind) {
    case Kind::kWrite: {
      const ssize_t put =
          pwrite(fd.get(), op.bytes.data(), op.bytes.size(), static_cast<off_t>(op.offset));
      // Cut by the daemon's death: in doubt as a whole.
      if (put >= 0 && static_cast<size_t>(put) < op.bytes.size()) return ENOTCONN;
      return errno_of(put);
    }
    case Kind::kStore:
      return store(fd.get(), op);
    case Kind::kTruncate:
      return errno_of(ftruncate(fd.get(), static_cast<off_t>(op.offset)));
    case Kind::kPunch:
      return errno_of(fallocate(fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                static_cast<off_t>(op.offset),
                                static_cast<off_t>(op.bytes.size())));
    case Kind::kFsync:
      return errno_of(fsync(fd.get()));
    default:
      return 0;
  }
}

// Through a mapping of what the file has; EINVAL when that is nothing.
int FileModel::store(int fd, const Operation& op) const {
  struct stat st = {};
  if (fstat(fd, &st) != 0) return errno;
  const auto size = static_cast<size_t>(st.st_size);
  if (size <= op.offset) return EINVAL;
  void* base = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (base == MAP_FAILED) return errno;
  const Map map{static_cast<char*>(base), size};
  const size_t length = std::min(op.bytes.size(), size - op.offset);
  const std::string fault =
      try_access(map, [&] { memcpy(map.base + op.offset, op.bytes.data(), length); });
  // SIGBUS and EIO are how a mapping is told that the daemon is gone.
  const bool synced = fault.empty() && msync(base, size, MS_SYNC) == 0;
  munmap(base, size);
  return synced ? 0 : ENOTCONN;
}

void FileModel::apply(ModelTree& tree, const Operation& op, uint64_t new_key) {
  const auto drop = [&](const std::string& name) {
    const auto found = tree.names.find(name);
    if (found == tree.names.end()) return;
    const uint64_t key = found->second;
    tree.names.erase(found);
    const bool last = std::ranges::none_of(tree.names, [&](auto& n) { return n.second == key; });
    if (last) tree.inodes.erase(key);
  };
  const auto make = [&](mode_t mode, const std::string& bytes) {
    tree.names[op.path] = new_key;
    tree.inodes[new_key] = {.mode = mode, .bytes = bytes};
  };
  switch (op.kind) {
    case Kind::kCreate:
      return make(S_IFREG | op.mode, "");
    case Kind::kMkdir:
      return make(S_IFDIR | op.mode | 0700, "");
    case Kind::kSymlink:
      return make(S_IFLNK | 0777, op.bytes);
    case Kind::kLink:
      tree.names[op.path2] = tree.names.at(op.path);
      return;
    case Kind::kUnlink:
    case Kind::kRmdir:
      return drop(op.path);
    case Kind::kRename: {
      if (op.path == op.path2) return;
      const auto to = tree.names.find(op.path2);
      if (to != tree.names.end() && to->second == tree.names.at(op.path)) return;  // links of one
      drop(op.path2);
      ModelTree renamed{.names = {}, .inodes = tree.inodes};
      for (const auto& [name, key] : tree.names) {
        const bool moves = name == op.path || name.starts_with(op.path + "/");
        renamed.names[moves ? op.path2 + name.substr(op.path.size()) : name] = key;
      }
      tree = std::move(renamed);
      return;
    }
    default:
      apply_to_file(tree.inodes.at(tree.names.at(op.path)), op);
  }
}

void FileModel::apply_to_file(ModelInode& inode, const Operation& op) {
  std::string& bytes = inode.bytes;
  switch (op.kind) {
    case Kind::kWrite:
      bytes.resize(std::max(bytes.size(), op.offset + op.bytes.size()));
      bytes.replace(op.offset, op.bytes.size(), op.bytes);
      return;
    case Kind::kStore:
      if (op.offset >= bytes.size()) return;
      bytes.replace(op.offset, std::min(op.bytes.size(), bytes.size() - op.offset), op.bytes, 0,
                    std::min(op.bytes.size(), bytes.size() - op.offset));
      return;
    case Kind::kTruncate:
      bytes.resize(op.offset);
      return;
    case Kind::kPunch:
      if (op.offset >= bytes.size()) return;
      std::fill_n(bytes.begin() + static_cast<long>(op.offset),
                  std::min(op.bytes.size(), bytes.size() - op.offset), '\0');
      return;
    case Kind::kChmod:
      inode.mode = (inode.mode & S_IFMT) | op.mode;
      return;
    case Kind::kSetXattr:
      inode.xattrs[kXattr] = op.bytes;
      return;
    default:
      return;
  }
}

ModelTree FileModel::read_tree() const {
  ModelTree tree;
  for (const auto& entry : stdfs::recursive_directory_iterator(root_)) {
    struct stat st = {};
    const std::string path = entry.path();
    if (lstat(path.c_str(), &st) != 0) throw_errno(path);
    tree.names[path.substr(root_.size() + 1)] = st.st_ino;
    ModelInode& inode = tree.inodes[st.st_ino];
    inode.mode = st.st_mode;
    if (S_ISREG(st.st_mode)) inode.bytes = read_file(path);
    if (S_ISLNK(st.st_mode)) inode.bytes = stdfs::read_symlink(path);
    std::array<char, 4096> value{};
    const ssize_t length = lgetxattr(path.c_str(), kXattr, value.data(), value.size());
    if (length >= 0) inode.xattrs[kXattr] = std::string(value.data(), static_cast<size_t>(length));
  }
  return tree;
}

std::string FileModel::difference(const ModelTree& expected, const ModelTree& found) const {
  std::map<uint64_t, uint64_t> twin;  // inode of `expected` → of `found`
  for (const auto& [name, key] : expected.names) {
    const auto other = found.names.find(name);
    if (other == found.names.end()) return name + ": missing";
    const auto [pair, is_new] = twin.emplace(key, other->second);
    if (!is_new && pair->second != other->second) return name + ": a link of another file";
    const ModelInode& want = expected.inodes.at(key);
    const ModelInode& have = found.inodes.at(other->second);
    if (want.mode != have.mode) {
      return fmt::format("{}: mode {:o}, not {:o}", name, have.mode, want.mode);
    }
    if (want.xattrs != have.xattrs) return name + ": xattrs differ";
    if (want.bytes.size() != have.bytes.size()) {
      return fmt::format("{}: size {}, not {}", name, have.bytes.size(), want.bytes.size());
    }
    if (want.bytes != have.bytes) {
      const auto at = std::ranges::mismatch(want.bytes, have.bytes).in1 - want.bytes.begin();
      return fmt::format("{}: bytes differ from {} on", name, at);
    }
  }
  for (const auto& [name, key] : found.names) {
    if (!expected.names.contains(name)) return name + ": should not be there";
  }
  return twin.size() == found.inodes.size() ? "" : "links differ";
}

std::string FileModel::not_partly_done(const ModelTree& before, const ModelTree& after,
                                       const ModelTree& found) const {
  const std::string& path = in_doubt_->path;
  if (!before.names.contains(path) || !found.names.contains(path)) return "not a cut write";
  const std::string& old_bytes = before.inodes.at(before.names.at(path)).bytes;
  const std::string& new_bytes = after.inodes.at(after.names.at(path)).bytes;
  const std::string& bytes = found.inodes.at(found.names.at(path)).bytes;
  const auto [low, high] = std::minmax({old_bytes.size(), new_bytes.size()});
  if (bytes.size() < low || bytes.size() > high) {
    return fmt::format("size {}, not in [{}, {}]", bytes.size(), low, high);
  }
  const auto at = [](const std::string& text, size_t i) {
    return i < text.size() ? text[i] : '\0';
  };
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] == at(old_bytes, i) || bytes[i] == at(new_bytes, i)) continue;
    return fmt::format("byte {} is {}, neither {} nor {}; sizes {} → {}, found {}", i,
                       int{bytes[i]}, int{at(old_bytes, i)}, int{at(new_bytes, i)},
                       old_bytes.size(), new_bytes.size(), bytes.size());
  }
  // All the rest must be as it was.
  ModelTree rest = before;
  rest.inodes.at(rest.names.at(path)).bytes = bytes;
  return difference(rest, found);
}

std::string FileModel::compare() {
  ModelTree found = read_tree();
  std::string differs = difference(tree_, found);
  if (!differs.empty() && in_doubt_) {
    ModelTree after = tree_;
    apply(after, *in_doubt_, next_key_++);
    const std::string torn =
        difference(after, found).empty() ? "" : not_partly_done(tree_, after, found);
    if (!torn.empty()) {
      return fmt::format("{} (in doubt: operation {} on {} {} at {} of {}; {})", differs,
                         static_cast<int>(in_doubt_->kind), in_doubt_->path, in_doubt_->path2,
                         in_doubt_->offset, in_doubt_->bytes.size(), torn);
    }
    differs.clear();
  }
  in_doubt_.reset();
  // From here on the found tree is the model; keys must not meet new ones.
  if (differs.empty()) tree_ = std::move(found);
  return differs;
}

}  // namespace pmemd
