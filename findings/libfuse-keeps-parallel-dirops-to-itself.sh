#!/usr/bin/env bash
# libfuse 3.14.0 (Debian 12: libfuse3-3 3.14.0-4).
#
# Expected: what a file system adds to fuse_conn_info.want in init(), of what the kernel offers, is in
# the reply to FUSE_INIT. fuse_common.h documents FUSE_CAP_PARALLEL_DIROPS as such a capability.
# Seen: the kernel offers FUSE_PARALLEL_DIROPS, capable has FUSE_CAP_PARALLEL_DIROPS, the file system
# wants it, and the reply doesn't have the flag. FUSE_CAP_ASYNC_READ, wanted the same way, is there.
#
# The kernel then goes on sending one LOOKUP or READDIR of a directory at a time, however many threads
# serve, and nothing tells the file system so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
apt-get download -qq -o APT::Sandbox::User=root libfuse3-3=3.14.0-4 libfuse3-dev=3.14.0-4 >/dev/null
for package in *.deb; do dpkg -x "$package" root; done

cat >probe.c <<'P'
#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

static void init(void *data, struct fuse_conn_info *conn) {
  const unsigned wanted = FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_ASYNC_READ;
  (void)data;
  conn->want |= conn->capable & wanted;
  printf("capable and wanted: %s\n", (conn->want & wanted) == wanted ? "both" : "not both");
}

static ssize_t io_writev(int fd, struct iovec *parts, int count, void *data) {
  (void)data;
  return writev(fd, parts, count);
}
static ssize_t io_read(int fd, void *bytes, size_t size, void *data) {
  (void)data;
  return read(fd, bytes, size);
}

int main(void) {
  char *names[] = {"probe", NULL};
  struct fuse_args args = FUSE_ARGS_INIT(1, names);
  const struct fuse_lowlevel_ops ops = {.init = init};
  const struct fuse_custom_io io = {.writev = io_writev, .read = io_read};
  struct {
    struct fuse_in_header header;
    struct fuse_init_in body;
  } request = {{.len = sizeof request, .opcode = FUSE_INIT, .unique = 1},
               {.major = FUSE_KERNEL_VERSION, .minor = 34, .max_readahead = 131072,
                .flags = FUSE_PARALLEL_DIROPS | FUSE_ASYNC_READ | FUSE_BIG_WRITES}};
  struct {
    struct fuse_out_header header;
    struct fuse_init_out body;
  } reply = {0};
  struct fuse_buf buffer = {0};
  int ends[2];
  struct fuse_session *session = fuse_session_new(&args, &ops, sizeof ops, NULL);
  if (!session || socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) != 0) return 1;
  if (fuse_session_custom_io(session, &io, ends[0]) != 0) return 1;
  if (write(ends[1], &request, sizeof request) != sizeof request) return 1;
  if (fuse_session_receive_buf(session, &buffer) <= 0) return 1;
  fuse_session_process_buf(session, &buffer);
  if (read(ends[1], &reply, sizeof reply) < (ssize_t)sizeof reply.header) return 1;
  printf("FUSE_ASYNC_READ in the reply: %s\n", reply.body.flags & FUSE_ASYNC_READ ? "yes" : "no");
  printf("FUSE_PARALLEL_DIROPS in the reply: %s\n",
         reply.body.flags & FUSE_PARALLEL_DIROPS ? "yes" : "no");
  return 0;
}
P
library=$(dirname "$(find root -name 'libfuse3.so.3')")
cc -Iroot/usr/include/fuse3 probe.c -o probe -L"$library" -l:libfuse3.so.3
LD_LIBRARY_PATH=$library ./probe | tee seen
diff seen - <<'S'
capable and wanted: both
FUSE_ASYNC_READ in the reply: yes
FUSE_PARALLEL_DIROPS in the reply: no
S
echo "as found: libfuse 3.14.0"
