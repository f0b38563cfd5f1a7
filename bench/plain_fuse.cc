// The reference: a FUSE server as one writes it in an afternoon. It shows a directory, with
// handlers for read, write and the rest, and leaves limits, timeouts and the request loop to
// libfuse.
//
// It also does what a naive removal would, and tells what the kernel takes for it. Commands on
// standard input, answers in nanoseconds on standard output; PATH is relative to the mount:
// LENGTH 0 does nothing but open it.
//   pages PATH OFFSET LENGTH   an inval of each page
//   range PATH OFFSET LENGTH   one inval of all
//   flush PATH OFFSET LENGTH   sync_file_range, which writes all that is dirty, and then that inval
// It prints "ready" when it serves, and ends with its input.
//
// plain_fuse SOURCE MOUNT
#define FUSE_USE_VERSION 314
#include <dirent.h>
#include <fcntl.h>
#include <fuse3/fuse_lowlevel.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/base/unique_fd.h"

namespace pmemd {
namespace {

constexpr double kTimeoutSeconds = 1.0;  // libfuse's own default

// The inode number is the node id; the source is one file system, so it is unique.
class Nodes {
 public:
  explicit Nodes(int root) : root_(root) {}

  int fd(fuse_ino_t ino) {
    if (ino == FUSE_ROOT_ID) return root_;
    const std::lock_guard lock(mutex_);
    return nodes_.at(ino).fd.get();
  }

  // Finds or makes the node, and counts one lookup.
  int lookup(fuse_ino_t parent, const char* name, fuse_entry_param& entry) {
    UniqueFd fd(openat(this->fd(parent), name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
    if (!fd || fstatat(fd.get(), "", &entry.attr, AT_EMPTY_PATH) != 0) return errno;
    entry.ino = entry.attr.st_ino;
    entry.attr_timeout = entry.entry_timeout = kTimeoutSeconds;
    const std::lock_guard lock(mutex_);
    Node& node = nodes_[entry.ino];
    if (!node.fd) node.fd = std::move(fd);
    ++node.lookups;
    return 0;
  }

  void forget(fuse_ino_t ino, uint64_t count) {
    UniqueFd closed_without_lock;
    const std::lock_guard lock(mutex_);
    const auto it = nodes_.find(ino);
    if (it == nodes_.end() || (it->second.lookups -= count) > 0) return;
    closed_without_lock = std::move(it->second.fd);
    nodes_.erase(it);
  }

 private:
  struct Node {
    UniqueFd fd;
    uint64_t lookups = 0;
  };
  const int root_;
  std::mutex mutex_;
  std::unordered_map<fuse_ino_t, Node> nodes_;
};

Nodes& nodes_of(fuse_req_t req) { return *static_cast<Nodes*>(fuse_req_userdata(req)); }
int fd_of(fuse_req_t req, fuse_ino_t ino) { return nodes_of(req).fd(ino); }
std::string proc_path(int fd) { return "/proc/self/fd/" + std::to_string(fd); }
void reply(fuse_req_t req, bool done) { fuse_reply_err(req, done ? 0 : errno); }

void op_lookup(fuse_req_t req, fuse_ino_t parent, const char* name) {
  fuse_entry_param entry = {};
  const int error = nodes_of(req).lookup(parent, name, entry);
  error == 0 ? fuse_reply_entry(req, &entry) : fuse_reply_err(req, error);
}

void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count) {
  nodes_of(req).forget(ino, count);
  fuse_reply_none(req);
}

void op_getattr(fuse_req_t req, fuse_ino_t ino, fuse_file_info* /*file*/) {
  struct stat st = {};
  if (fstatat(fd_of(req, ino), "", &st, AT_EMPTY_PATH) != 0) return reply(req, false);
  fuse_reply_attr(req, &st, kTimeoutSeconds);
}

void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat* attr, int set, fuse_file_info* file) {
  const std::string path = proc_path(fd_of(req, ino));
  if ((set & FUSE_SET_ATTR_SIZE) != 0 && truncate(path.c_str(), attr->st_size) != 0)
    return reply(req, false);
  if ((set & FUSE_SET_ATTR_MODE) != 0 && chmod(path.c_str(), attr->st_mode) != 0)
    return reply(req, false);
  op_getattr(req, ino, file);
}

void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode) {
  if (mkdirat(fd_of(req, parent), name, mode) != 0) return reply(req, false);
  op_lookup(req, parent, name);
}

void op_unlink(fuse_req_t req, fuse_ino_t parent, const char* name) {
  reply(req, unlinkat(fd_of(req, parent), name, 0) == 0);
}

void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char* name) {
  reply(req, unlinkat(fd_of(req, parent), name, AT_REMOVEDIR) == 0);
}

void op_rename(fuse_req_t req, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
               const char* new_name, unsigned /*flags*/) {
  reply(req, renameat(fd_of(req, parent), name, fd_of(req, new_parent), new_name) == 0);
}

void op_create(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode,
               fuse_file_info* file) {
  UniqueFd fd(openat(fd_of(req, parent), name, (file->flags | O_CREAT) & ~O_NOFOLLOW, mode));
  fuse_entry_param entry = {};
  if (!fd) return reply(req, false);
  if (const int error = nodes_of(req).lookup(parent, name, entry); error != 0) {
    fuse_reply_err(req, error);
    return;
  }
  file->fh = static_cast<uint64_t>(fd.release());
  fuse_reply_create(req, &entry, file);
}

void op_open(fuse_req_t req, fuse_ino_t ino, fuse_file_info* file) {
  const int fd = open(proc_path(fd_of(req, ino)).c_str(), file->flags & ~O_NOFOLLOW);
  if (fd < 0) return reply(req, false);
  file->fh = static_cast<uint64_t>(fd);
  fuse_reply_open(req, file);
}

void op_release(fuse_req_t req, fuse_ino_t /*ino*/, fuse_file_info* file) {
  reply(req, close(static_cast<int>(file->fh)) == 0);
}

void op_read(fuse_req_t req, fuse_ino_t /*ino*/, size_t size, off_t offset, fuse_file_info* file) {
  std::vector<char> bytes(size);
  const ssize_t count = pread(static_cast<int>(file->fh), bytes.data(), size, offset);
  if (count < 0) return reply(req, false);
  fuse_reply_buf(req, bytes.data(), static_cast<size_t>(count));
}

void op_write(fuse_req_t req, fuse_ino_t /*ino*/, const char* bytes, size_t size, off_t offset,
              fuse_file_info* file) {
  const ssize_t count = pwrite(static_cast<int>(file->fh), bytes, size, offset);
  if (count < 0) return reply(req, false);
  fuse_reply_write(req, static_cast<size_t>(count));
}

void op_fsync(fuse_req_t req, fuse_ino_t /*ino*/, int /*datasync*/, fuse_file_info* file) {
  reply(req, fsync(static_cast<int>(file->fh)) == 0);
}

void op_opendir(fuse_req_t req, fuse_ino_t ino, fuse_file_info* file) {
  const int fd = openat(fd_of(req, ino), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* const dir = fd < 0 ? nullptr : fdopendir(fd);
  if (dir == nullptr) return reply(req, false);
  file->fh = reinterpret_cast<uint64_t>(dir);
  fuse_reply_open(req, file);
}

void op_readdir(fuse_req_t req, fuse_ino_t /*ino*/, size_t size, off_t offset,
                fuse_file_info* file) {
  auto* const dir = reinterpret_cast<DIR*>(file->fh);
  seekdir(dir, offset);
  std::vector<char> bytes(size);
  size_t used = 0;
  while (const dirent* found = readdir(dir)) {
    struct stat st = {};
    st.st_ino = found->d_ino;
    st.st_mode = static_cast<mode_t>(DTTOIF(found->d_type));
    const size_t length =
        fuse_add_direntry(req, bytes.data() + used, size - used, found->d_name, &st, found->d_off);
    if (length > size - used) break;
    used += length;
  }
  fuse_reply_buf(req, bytes.data(), used);
}

void op_releasedir(fuse_req_t req, fuse_ino_t /*ino*/, fuse_file_info* file) {
  reply(req, closedir(reinterpret_cast<DIR*>(file->fh)) == 0);
}

void op_statfs(fuse_req_t req, fuse_ino_t ino) {
  struct statvfs st = {};
  if (fstatvfs(fd_of(req, ino), &st) != 0) return reply(req, false);
  fuse_reply_statfs(req, &st);
}

fuse_lowlevel_ops make_operations() {
  fuse_lowlevel_ops ops = {};
  ops.lookup = op_lookup;
  ops.forget = op_forget;
  ops.getattr = op_getattr;
  ops.setattr = op_setattr;
  ops.mkdir = op_mkdir;
  ops.unlink = op_unlink;
  ops.rmdir = op_rmdir;
  ops.rename = op_rename;
  ops.create = op_create;
  ops.open = op_open;
  ops.release = op_release;
  ops.read = op_read;
  ops.write = op_write;
  ops.fsync = op_fsync;
  ops.opendir = op_opendir;
  ops.readdir = op_readdir;
  ops.releasedir = op_releasedir;
  ops.statfs = op_statfs;
  return ops;
}

// --- the naive removals -------------------------------------------------------------------------

constexpr off_t kPage = 4096;

int inval(fuse_session* session, fuse_ino_t ino, off_t offset, off_t length, off_t step) {
  for (off_t at = offset; at < offset + length; at += step) {
    const int result =
        fuse_lowlevel_notify_inval_inode(session, ino, at, std::min(step, offset + length - at));
    if (result != 0) return result;
  }
  return 0;
}

// The files that commands have named. They are opened and looked at once: an open drops a file's
// pages, and so do attributes that are asked for again and have changed, unless the server knows
// how to prevent it, which ours doesn't.
class Opened {
 public:
  struct Entry {
    UniqueFd fd;
    fuse_ino_t ino = 0;
  };

  explicit Opened(std::string mount) : mount_(std::move(mount)) {}
  // Null, with errno set, if there is no such file.
  const Entry* find(const std::string& path) {
    Entry& entry = entries_[path];
    if (entry.ino != 0) return &entry;
    struct stat st = {};
    entry.fd.reset(open((mount_ + "/" + path).c_str(), O_RDONLY | O_CLOEXEC));
    if (!entry.fd || fstat(entry.fd.get(), &st) != 0) return nullptr;
    entry.ino = st.st_ino;
    return &entry;
  }

 private:
  const std::string mount_;
  std::unordered_map<std::string, Entry> entries_;
};

// How long one command took; below 0: an errno.
int64_t run_command(fuse_session* session, Opened& files, const std::string& line) {
  std::istringstream words(line);
  std::string what;
  std::string path;
  off_t offset = 0;
  off_t length = 0;
  words >> what >> path >> offset >> length;
  if (words.fail()) return -EINVAL;
  const Opened::Entry* const file = files.find(path);
  if (file == nullptr) return -errno;
  if (length == 0) return 0;
  const auto begin = std::chrono::steady_clock::now();
  constexpr unsigned kAllOfIt =
      SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
  if (what == "flush" && sync_file_range(file->fd.get(), offset, length, kAllOfIt) != 0) {
    return -errno;
  }
  const int result = inval(session, file->ino, offset, length, what == "pages" ? kPage : length);
  if (result != 0) return result;
  return std::chrono::nanoseconds(std::chrono::steady_clock::now() - begin).count();
}

void serve_commands(fuse_session* session, const std::string& mount) {
  Opened files(mount);
  std::cout << "ready" << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    std::cout << run_command(session, files, line) << std::endl;
  }
  fuse_session_unmount(session);  // which ends the loop
}

int serve(const std::string& source, const std::string& mount) {
  const UniqueFd root(open(source.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root) return perror(source.c_str()), 1;
  Nodes nodes(root.get());
  fuse_args args = FUSE_ARGS_INIT(0, nullptr);
  for (const char* word : {"plain_fuse", "-o", "fsname=plain,default_permissions"}) {
    fuse_opt_add_arg(&args, word);
  }
  const fuse_lowlevel_ops ops = make_operations();
  fuse_session* const session = fuse_session_new(&args, &ops, sizeof(ops), &nodes);
  fuse_opt_free_args(&args);
  if (session == nullptr || fuse_session_mount(session, mount.c_str()) != 0) return 1;
  std::thread commands([&] {
    struct stat st = {};
    if (stat(mount.c_str(), &st) != 0) perror(mount.c_str());  // the first request: the loop runs
    serve_commands(session, mount);
  });
  fuse_loop_config* const config = fuse_loop_cfg_create();
  fuse_session_loop_mt(session, config);
  fuse_loop_cfg_destroy(config);
  commands.join();
  fuse_session_destroy(session);
  return 0;
}

}  // namespace
}  // namespace pmemd

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "plain_fuse SOURCE MOUNT\n");
    return 2;
  }
  rlimit files = {};  // each known file keeps one open
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  return pmemd::serve(argv[1], argv[2]);
}
