// A program that knows nothing of pmemd: it maps a file, touches it, and tells which SIGBUS it
// gets, by the same means as on real hardware (SA_SIGINFO, prctl(PR_MCE_KILL), MAP_SYNC).
//
// It obeys one command a line and answers each with one:
//   map PATH LENGTH [sync|populate]  "ok", or "error EOPNOTSUPP"
//   background PATH LENGTH  "ok"; a thread maps it with MAP_POPULATE. join: "ok" when it has
//   touch OFFSET            "ok", or "sigbus CODE OFFSET LSB" of the signal
//   store OFFSET            the same, by a store
//   thread OFFSET           touch, in a thread of its own; "other thread" if another one got it
//   child OFFSET            touch, in a child
//   async                   waits for a signal that isn't a fault's: "sigbus CODE OFFSET LSB"
//   count                   how many of those there were
//   early | late            PR_MCE_KILL
//   default | ignore | block   what becomes of SIGBUS from now on
//   unmap OFFSET LENGTH     grow LENGTH   NEW_LENGTH (mremap)
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static char* base;
static size_t length;

static __thread sigjmp_buf back;
static __thread volatile sig_atomic_t touching;
static __thread siginfo_t fault;

static volatile sig_atomic_t asynchronous;
static siginfo_t last;

static void on_sigbus(int number, siginfo_t* info, void* context) {
  (void)number;
  (void)context;
  if (touching && info->si_code != BUS_MCEERR_AO) {
    fault = *info;
    siglongjmp(back, 1);
  }
  last = *info;
  ++asynchronous;
}

static void tell(const siginfo_t* info) {
  printf("sigbus %d %td %d\n", info->si_code, (char*)info->si_addr - base, info->si_addr_lsb);
}

// Whether it failed; then `fault` has the signal.
static bool touch(size_t offset, bool store) {
  volatile char* byte = base + offset;
  if (sigsetjmp(back, 1) != 0) {
    touching = 0;
    return true;
  }
  touching = 1;
  if (store) {
    *byte = 's';
  } else {
    (void)*byte;
  }
  touching = 0;
  return false;
}

static void tell_touch(size_t offset, bool store) {
  if (touch(offset, store)) {
    tell(&fault);
  } else {
    puts("ok");
  }
}

static void* touch_in_thread(void* argument) {
  tell_touch((size_t)argument, false);
  return NULL;
}

static void in_child(size_t offset) {
  fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    tell_touch(offset, false);
    fflush(stdout);
    _exit(0);
  }
  waitpid(child, NULL, 0);
}

static void answer(bool good) {
  if (good) {
    puts("ok");
  } else {
    printf("error %s\n", strerrorname_np(errno));
  }
}

static int flags_of(const char* word) {
  if (word && strcmp(word, "sync") == 0) return MAP_SHARED_VALIDATE | MAP_SYNC;
  return word && strcmp(word, "populate") == 0 ? MAP_SHARED | MAP_POPULATE : MAP_SHARED;
}

static pthread_t background;
static struct {
  char path[4096];
  size_t length;
} wanted;

static void* map_in_background(void* unused) {
  (void)unused;
  const int fd = open(wanted.path, O_RDWR | O_CLOEXEC);
  mmap(NULL, wanted.length, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
  close(fd);
  return NULL;
}

static void start_background(const char* path, size_t bytes) {
  snprintf(wanted.path, sizeof(wanted.path), "%s", path);
  wanted.length = bytes;
  errno = pthread_create(&background, NULL, map_in_background, NULL);
  answer(errno == 0);
}

static void map(char* path, size_t bytes, const char* how) {
  const int fd = open(path, O_RDWR | O_CLOEXEC);
  const int flags = flags_of(how);
  char* mapped = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, fd, 0);
  const bool good = fd >= 0 && mapped != MAP_FAILED;
  answer(good);
  if (!good) return;
  close(fd);  // the mapping keeps it
  base = mapped;
  length = bytes;
}

static void await(void) {
  static int told;
  sigset_t bus, before;
  sigemptyset(&bus);
  sigaddset(&bus, SIGBUS);
  sigprocmask(SIG_BLOCK, &bus, &before);
  while (asynchronous == told) sigsuspend(&before);
  told = asynchronous;
  const siginfo_t info = last;
  sigprocmask(SIG_SETMASK, &before, NULL);
  tell(&info);
}

static void block(void) {
  sigset_t bus;
  sigemptyset(&bus);
  sigaddset(&bus, SIGBUS);
  answer(sigprocmask(SIG_BLOCK, &bus, NULL) == 0);
}

static void policy(int value) { answer(prctl(PR_MCE_KILL, PR_MCE_KILL_SET, value, 0, 0) == 0); }

static void grow(size_t bytes) {
  char* mapped = mremap(base, length, bytes, MREMAP_MAYMOVE);
  answer(mapped != MAP_FAILED);
  if (mapped == MAP_FAILED) return;
  base = mapped;
  length = bytes;
}

static void obey_signals(const char* command) {
  if (strcmp(command, "early") == 0) {
    policy(PR_MCE_KILL_EARLY);
    return;
  }
  if (strcmp(command, "late") == 0) {
    policy(PR_MCE_KILL_LATE);
    return;
  }
  if (strcmp(command, "default") == 0) {
    answer(signal(SIGBUS, SIG_DFL) != SIG_ERR);
    return;
  }
  if (strcmp(command, "ignore") == 0) {
    answer(signal(SIGBUS, SIG_IGN) != SIG_ERR);
    return;
  }
  if (strcmp(command, "block") == 0) {
    block();
    return;
  }
  if (strcmp(command, "async") == 0) {
    await();
    return;
  }
  if (strcmp(command, "join") == 0) {
    answer(pthread_join(background, NULL) == 0);
    return;
  }
  if (strcmp(command, "count") == 0) {
    printf("%d\n", (int)asynchronous);
    return;
  }
  puts("error: what?");
}

static void obey(const char* command, char* first, const char* second, const char* third) {
  const size_t number = first ? strtoull(first, NULL, 10) : 0;
  const size_t other = second ? strtoull(second, NULL, 10) : 0;
  if (strcmp(command, "map") == 0) {
    map(first, other, third);
    return;
  }
  if (strcmp(command, "background") == 0) {
    start_background(first, other);
    return;
  }
  if (strcmp(command, "touch") == 0) {
    tell_touch(number, false);
    return;
  }
  if (strcmp(command, "store") == 0) {
    tell_touch(number, true);
    return;
  }
  if (strcmp(command, "child") == 0) {
    in_child(number);
    return;
  }
  if (strcmp(command, "unmap") == 0) {
    answer(munmap(base + number, other) == 0);
    return;
  }
  if (strcmp(command, "grow") == 0) {
    grow(number);
    return;
  }
  if (strcmp(command, "thread") == 0) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, touch_in_thread, (void*)number) == 0) {
      pthread_join(thread, NULL);
    }
    return;
  }
  obey_signals(command);
}

int main(void) {
  struct sigaction action;
  memset(&action, 0, sizeof(action));
  action.sa_sigaction = on_sigbus;
  action.sa_flags = SA_SIGINFO | SA_RESTART;  // commands are read meanwhile
  sigaction(SIGBUS, &action, NULL);
  char line[4096];
  while (fgets(line, sizeof(line), stdin)) {
    char* words[4] = {NULL};
    char* rest = line;
    for (int i = 0; i < 4; ++i) words[i] = strtok_r(NULL, " \n", &rest);
    if (words[0]) obey(words[0], words[1], words[2], words[3]);
    fflush(stdout);
  }
  return 0;
}
