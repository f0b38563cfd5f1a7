// A claim table with files that are open, and what is told of them.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <optional>
#include <vector>

#include "core/events/mapper_events.h"

namespace pmemd {

class MapperFixture : public testing::Test {
 protected:
  static constexpr uint64_t kIno = 7;
  static constexpr std::chrono::seconds kLong{20};
  static constexpr std::chrono::system_clock::time_point kThen{std::chrono::seconds(1)};

  MapperFixture() { claims_.open(); }

  uint64_t open_file(uint64_t ino = kIno, bool writable = true) {
    return claims_.add_handle(ino, 1, writable).value();
  }
  uint64_t map(uint64_t handle, FileRange range, uint64_t address = 0x10000, pid_t pid = 1) {
    return claims_.add_mapping(handle, pid, range, address).value();
  }
  uint64_t take_over(uint64_t handle, FileRange range,
                     std::chrono::milliseconds timeout = std::chrono::milliseconds(kLong),
                     pid_t pid = 1) {
    return claims_.add_takeover(handle, pid, range, timeout).value();
  }
  // As Device does it.
  void close_file(uint64_t handle) {
    claims_.remove_handle(handle);
    events_.forget_handle(handle);
  }
  void end_process(pid_t pid) {
    for (const Reference& gone : claims_.remove_process(pid)) events_.forget(gone.handle, gone.id);
  }
  void end_claim(uint64_t handle, ReferenceKind kind, uint64_t id) {
    ASSERT_TRUE(claims_.remove(handle, kind, id));
    events_.forget(handle, id);
  }
  static MapperNotice notice(MapperEventKind kind, uint64_t seq = 1) {
    return {.kind = kind, .seq = seq, .time = kThen};
  }
  static MapperNotice question(uint64_t seq = 1) {
    return {.kind = MapperEventKind::kPreRemove, .seq = seq, .time = kThen, .answer_within = kLong};
  }
  std::vector<FileRange> ask(FileRange range, uint64_t seq = 1, uint64_t ino = kIno) {
    return events_.ask_takeover(ino, range, seq, kThen);
  }
  // All that waits, oldest first.
  std::vector<MapperEvent> read_all(uint64_t handle) {
    std::vector<MapperEvent> all;
    while (auto event = events_.read(handle)) all.push_back(*event);
    return all;
  }

  ClaimTable claims_;
  MapperEvents events_{claims_};
};

}  // namespace pmemd
