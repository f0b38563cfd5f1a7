// A process that maps files as any program does (tests/integration/programs/test_client.cc), told
// what to do over a pipe: client.ask("load 0 4096") → "ok 17", or "sigbus 2 4096".
//
// Thread contract: one thread.
#pragma once

#include <string>

#include "tests/integration/support/process.h"

namespace pmemd {

class Client : public Conversation {
 public:
  // `before_exec`: as in Spawn, for a client of another user.
  explicit Client(std::function<void()> before_exec = {});

  // Opens a file and maps its first `length` bytes, shared: descriptor and mapping 0 of a new
  // client.
  void map_file(const std::string& path, uint64_t length);
};

}  // namespace pmemd
