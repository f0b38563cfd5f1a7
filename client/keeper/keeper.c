#include "client/keeper/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "client/keeper/mailbox.h"
#include "client/keeper/raw_file.h"

#ifndef CLOSE_RANGE_UNSHARE
#define CLOSE_RANGE_UNSHARE 2u
#endif

// --- constant while the threads run

static KeeperSink keeper_sink;
static pthread_t asker;
static pid_t program;
static atomic_bool running;
static _Atomic pid_t own_threads[2];

// --- the asker's; the watcher only waits on `epoll`

struct open_file {
  int fd;  // -1: a free slot
  int access_mode;
  uint32_t life;
  uint32_t attachments;
  uint64_t device, inode;
};

static struct open_file* files;
static uint32_t file_count;
static uint32_t lives;
static int epoll = -1;
static int stop_event = -1;
static bool ending;

static int ioctl_result(int fd, unsigned long code, void* argument) {
  return raw_ioctl(fd, code, argument) == 0 ? 0 : -errno;
}

static struct open_file* find(KeeperFile file) {
  if (file.slot >= file_count) return NULL;
  struct open_file* found = &files[file.slot];
  return found->fd >= 0 && found->life == file.life ? found : NULL;
}

static KeeperFile name_of(const struct open_file* file) {
  return (KeeperFile){(uint32_t)(file - files), file->life};
}

static struct open_file* free_slot(void) {
  for (uint32_t i = 0; i < file_count; ++i) {
    if (files[i].fd < 0) return &files[i];
  }
  const uint32_t count = file_count == 0 ? 8 : file_count * 2;
  struct open_file* grown = realloc(files, count * sizeof(*files));
  if (!grown) return NULL;
  files = grown;
  for (uint32_t i = file_count; i < count; ++i) files[i].fd = -1;
  struct open_file* first = &files[file_count];
  file_count = count;
  return first;
}

static void close_file(struct open_file* file) {
  raw_close(file->fd);  // leaves the epoll set
  file->fd = -1;
}

// Shares the file description itself where the file can't be opened anew: no /proc, or a file that
// a process with more rights opened for us. The program then shares its events.
static int share_description(int fd) {
  const int pidfd = (int)syscall(SYS_pidfd_open, program, 0);
  if (pidfd < 0) return -errno;
  const int got = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
  const int result = got < 0 ? -errno : got;
  raw_close(pidfd);
  return result;
}

static int open_anew(const struct mail* mail) {
  char path[64];
  snprintf(path, sizeof(path), "/proc/self/task/%d/fd/%d", (int)mail->tid, mail->fd);
  const int fd = raw_open(path, mail->access_mode | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (fd >= 0) return fd;
  const bool reachable = errno == EIO || errno == ENXIO || errno == EMFILE || errno == ENFILE;
  return reachable ? -errno : share_description(mail->fd);
}

static struct open_file* find_same(const struct mail* mail) {
  for (uint32_t i = 0; i < file_count; ++i) {
    const struct open_file* file = &files[i];
    if (file->fd >= 0 && file->device == mail->device && file->inode == mail->inode &&
        file->access_mode == mail->access_mode) {
      return &files[i];
    }
  }
  return NULL;
}

static int open_file(const struct mail* mail, struct open_file** opened) {
  struct open_file* file = find_same(mail);
  if (!file) {
    file = free_slot();
    if (!file) return -ENOMEM;
    const int fd = open_anew(mail);
    if (fd < 0) return fd;
    struct stat now;
    if (raw_fstat(fd, &now) != 0 || now.st_dev != mail->device || now.st_ino != mail->inode) {
      raw_close(fd);
      return -EBADF;
    }
    if (++lives == 0) lives = 1;
    *file = (struct open_file){.fd = fd,
                               .access_mode = mail->access_mode,
                               .life = lives,
                               .device = mail->device,
                               .inode = mail->inode};
    // Edge-triggered: a file whose events can't be read (its daemon is gone) must not keep us busy.
    struct epoll_event events = {.events = EPOLLPRI | EPOLLET};
    memcpy(&events.data, &(KeeperFile){(uint32_t)(file - files), file->life}, sizeof(KeeperFile));
    raw_epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &events);
  }
  *opened = file;
  return 0;
}

// Clips the range to the file's current size. False: none of the range is in the file.
static bool clip(int fd, uint64_t offset, __u64* length) {
  struct stat now;
  if (raw_fstat(fd, &now) != 0 || offset >= (uint64_t)now.st_size) return false;
  const uint64_t left = (uint64_t)now.st_size - offset;
  if (*length > left) *length = left;
  return *length > 0;
}

static int register_range(int fd, const struct keeper_range* range, uint64_t* id) {
  *id = 0;
  if (range->kind == KEEPER_TAKEOVER) {
    struct pmemd_takeover takeover = {range->offset, range->length, range->timeout_ms, 0, 0};
    const int result = ioctl_result(fd, PMEMD_IOC_TAKEOVER, &takeover);
    *id = takeover.id;
    return result;
  }
  struct pmemd_mapping mapping = {range->offset, range->length, range->address, 0};
  if (range->kind == KEEPER_IF_POSSIBLE) {
    if (range->address == 0 || !clip(fd, range->offset, &mapping.length)) return 0;
    *id = ioctl_result(fd, PMEMD_IOC_MAP, &mapping) == 0 ? mapping.id : 0;
    return 0;
  }
  const int result = ioctl_result(fd, PMEMD_IOC_MAP, &mapping);
  *id = mapping.id;
  return result;
}

static int attach(struct open_file* file, struct mail* mail) {
  const int result = register_range(file->fd, &mail->range, &mail->id);
  if (result == 0) {
    ++file->attachments;
    mail->file = name_of(file);
  } else if (file->attachments == 0) {
    close_file(file);
  }
  return result;
}

static void detach(const struct mail* mail) {
  struct open_file* file = find(mail->file);
  if (!file) return;
  uint64_t id = mail->id;
  const unsigned long code =
      mail->range.kind == KEEPER_TAKEOVER ? PMEMD_IOC_END_TAKEOVER : PMEMD_IOC_UNMAP;
  if (id != 0) raw_ioctl(file->fd, code, &id);
  if (--file->attachments == 0) close_file(file);
}

static int query(int fd, struct pmemd_query* query) {
  if (!clip(fd, query->offset, &query->length)) {
    query->length = 0;
    return 0;
  }
  return ioctl_result(fd, PMEMD_IOC_QUERY, query);
}

static int serve(struct mail* mail) {
  struct open_file* file = NULL;
  if (mail->op == MAIL_END) {
    const uint64_t one = 1;
    raw_write(stop_event, &one, sizeof(one));
    return 0;
  }
  if (mail->op == MAIL_WATCHER_ENDS) {
    ending = true;
    return 0;
  }
  if (mail->op == MAIL_RUN) {
    mail->work();
    return 0;
  }
  if (mail->op == MAIL_ATTACH) {
    const int result = open_file(mail, &file);
    return result == 0 ? attach(file, mail) : result;
  }
  file = find(mail->file);
  if (!file) return -ESTALE;
  switch (mail->op) {
    case MAIL_ATTACH_AGAIN:
      return attach(file, mail);
    case MAIL_DETACH:
      detach(mail);
      return 0;
    case MAIL_QUERY:
      return query(file->fd, &mail->query);
    case MAIL_ANSWER:
      return ioctl_result(file->fd, PMEMD_IOC_ANSWER, &mail->answer);
    case MAIL_READ:
      return ioctl_result(file->fd, PMEMD_IOC_READ_EVENT, &mail->event);
    default:
      return -EINVAL;
  }
}

static void undo(struct mail* mail, int result) {
  const bool attached = mail->op == MAIL_ATTACH || mail->op == MAIL_ATTACH_AGAIN;
  if (attached && result == 0) detach(mail);
}

// --- the threads

// The watcher waits for the asker with no practical deadline, so that no event that was read is
// lost. The asker serves it until the watcher ends.
enum { kForeverMs = INT32_MAX };

static int read_event(KeeperFile file, struct pmemd_event* event) {
  struct mail mail = {.op = MAIL_READ, .file = file};
  const int result = mail_call(&mail, kForeverMs);
  *event = mail.event;
  return result;
}

static void* watch(void* unused) {
  (void)unused;
  pthread_setname_np(pthread_self(), "pmemd-watch");
  atomic_store(&own_threads[1], gettid());
  while (true) {
    struct epoll_event ready;
    if (raw_epoll_wait(epoll, &ready, 1) != 1) continue;
    KeeperFile file;
    memcpy(&file, &ready.data, sizeof(file));
    if (file.life == 0) break;
    struct pmemd_event event;
    while (read_event(file, &event) == 0) keeper_sink(file, &event);
  }
  struct mail mail = {.op = MAIL_WATCHER_ENDS};
  mail_call(&mail, kForeverMs);
  return NULL;
}

struct start {
  sem_t known;
  int result;
  pthread_t watcher;
};

static int have_own_table(void) {
  if (syscall(SYS_close_range, 0u, ~0u, CLOSE_RANGE_UNSHARE) != 0) return -errno;
  do {
    epoll = raw_epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0) return -errno;
  } while (epoll < 3);  // lower numbers stay taken: a write(2) to an epoll set is EINVAL
  stop_event = raw_eventfd(0, EFD_CLOEXEC);
  if (stop_event < 0) return -errno;
  struct epoll_event events = {.events = EPOLLIN};
  memset(&events.data, 0, sizeof(events.data));
  return raw_epoll_ctl(epoll, EPOLL_CTL_ADD, stop_event, &events) == 0 ? 0 : -errno;
}

static void* ask(void* argument) {
  struct start* start = argument;
  pthread_setname_np(pthread_self(), "pmemd-ask");
  atomic_store(&own_threads[0], gettid());
  pthread_t watcher;
  int result = have_own_table();
  if (result == 0) result = -pthread_create(&watcher, NULL, watch, NULL);
  const bool failed = result != 0;
  start->result = result;
  sem_post(&start->known);  // `start` must not be used after this
  if (failed) return NULL;

  while (!ending) {
    const uint32_t seen = mail_posted();
    if (!mail_serve(serve, undo) && !ending) mail_wait(seen);
  }
  pthread_join(watcher, NULL);
  // Done here, not by the thread's exit: that may come after the join in keeper_stop().
  for (uint32_t i = 0; i < file_count; ++i) {
    if (files[i].fd >= 0) close_file(&files[i]);
  }
  free(files);
  files = NULL;
  file_count = 0;
  return NULL;
}

int keeper_start(KeeperSink sink) {
  if (keeper_runs()) return 0;
  keeper_sink = sink;
  program = getpid();
  ending = false;
  struct start start = {.result = 0};
  sem_init(&start.known, 0, 0);
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  int result = -pthread_create(&asker, NULL, ask, &start);
  if (result == 0) {
    while (sem_wait(&start.known) != 0) continue;
    result = start.result;
    if (result != 0) pthread_join(asker, NULL);
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  sem_destroy(&start.known);
  atomic_store(&running, result == 0);
  return result;
}

void keeper_stop(void) {
  if (!keeper_runs()) return;
  struct mail mail = {.op = MAIL_END};
  if (mail_call(&mail, kAnswerDeadlineMs) != 0) return;
  atomic_store(&running, false);
  pthread_join(asker, NULL);
}

bool keeper_runs(void) { return atomic_load(&running); }

bool keeper_has_thread(int32_t thread) {
  return thread == atomic_load(&own_threads[0]) || thread == atomic_load(&own_threads[1]);
}

void keeper_forget(void) {
  static struct open_file* left_behind;
  atomic_store(&running, false);
  mail_reset();
  left_behind = files;  // not freed: the asker may have been freeing it
  (void)left_behind;
  files = NULL;
  file_count = 0;
}

// --- what others ask for

static int call(struct mail* mail) {
  if (!keeper_runs()) return -ESRCH;
  // Work that keeper_run() runs makes calls, too.
  if (gettid() == atomic_load(&own_threads[0])) return serve(mail);
  return mail_call(mail, kAnswerDeadlineMs);
}

int keeper_attach(int fd, const struct keeper_range* range, KeeperFile* file, uint64_t* id) {
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0) return -errno;
  struct stat now;
  if (fstat(fd, &now) != 0) return -errno;
  struct mail mail = {.op = MAIL_ATTACH,
                      .fd = fd,
                      .access_mode = flags & O_ACCMODE,
                      .tid = gettid(),
                      .device = now.st_dev,
                      .inode = now.st_ino,
                      .range = *range};
  const int result = call(&mail);
  *file = mail.file;
  *id = mail.id;
  return result;
}

int keeper_attach_again(KeeperFile file, const struct keeper_range* range, uint64_t* id) {
  struct mail mail = {.op = MAIL_ATTACH_AGAIN, .file = file, .range = *range};
  const int result = call(&mail);
  *id = mail.id;
  return result;
}

void keeper_detach(KeeperFile file, enum KeeperKind kind, uint64_t id) {
  struct mail mail = {.op = MAIL_DETACH, .file = file, .range = {.kind = kind}, .id = id};
  call(&mail);
}

int keeper_query(KeeperFile file, struct pmemd_query* query) {
  struct mail mail = {.op = MAIL_QUERY, .file = file, .query = *query};
  const int result = call(&mail);
  *query = mail.query;
  return result;
}

int keeper_answer(KeeperFile file, const struct pmemd_answer* answer) {
  struct mail mail = {.op = MAIL_ANSWER, .file = file, .answer = *answer};
  return call(&mail);
}

int keeper_run(void (*work)(void)) {
  struct mail mail = {.op = MAIL_RUN, .work = work};
  return call(&mail);
}
