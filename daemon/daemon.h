// The assembled daemon: pool, devices, mount, control socket, and their orderly shutdown.
//
// Threads: the caller's runs the event loop (signals, control socket); some serve FUSE requests;
// one talks to the kernel (KernelNotifier); a few run the control socket's handlers.
#pragma once

#include <functional>

#include "daemon/options.h"

namespace pmemd {

// Runs until SIGTERM, SIGINT or an unmount; returns the exit code. `ready` is called once, when the
// mount and the socket serve. Errors are logged.
int run_daemon(const Options& options, const std::function<void()>& ready);

// pmemd --check. Prints findings on stdout; 0: none, 1: some, or the pool can't be checked.
int run_check(const Options& options);

}  // namespace pmemd
