// A process that registers its mappings and reads their events
// (tests/integration/programs/mapper_program.cc).
//
// Thread contract: one thread.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/integration/support/harness.h"
#include "tests/integration/support/process.h"

namespace pmemd {

// What it prints of an event.
struct Told {
  uint64_t kind = 0, seq = 0, id = 0, offset = 0, length = 0, at = 0, missed = 0, flags = 0;
  uint64_t timeout_ms = 0;

  static Told parse(const std::string& line) {
    Told told;
    std::istringstream words(line);
    std::string ok;
    words >> ok >> told.kind >> told.seq >> told.id >> told.offset >> told.length >> told.at >>
        told.missed >> told.flags >> told.timeout_ms;
    if (!words || ok != "ok") throw std::runtime_error("no event: " + line);
    return told;
  }
};

class MapperProgram : public Conversation {
 public:
  enum class Where { kHere, kContained };
  explicit MapperProgram(Where where = Where::kHere)
      : Conversation(where == Where::kHere
                         ? std::vector{program("pmemd_test_mapper")}
                         : std::vector<std::string>{program("pmemd_test_mapper"), "--contained"}) {}
  // The value behind "ok ".
  uint64_t number(const std::string& command) {
    const std::string reply = ask(command);
    if (!reply.starts_with("ok ")) throw std::runtime_error(command + ": " + reply);
    return std::stoull(reply.substr(3));
  }
  Told event(const std::string& command) { return Told::parse(ask(command)); }
};

}  // namespace pmemd
