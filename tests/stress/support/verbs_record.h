// How far a mapper of tests/stress/verbs_at_random_test.cc got: in a file that outlives it.
#pragma once

#include <atomic>
#include <cstdint>

namespace pmemd {

struct VerbsRecord {
  std::atomic<uint64_t> attempted;  // the last generation of which a page may have been stored
  std::atomic<uint64_t> synced;     // the last one of which all were, and msync said so
  std::atomic<uint64_t> rounds;     // how often the file was mapped and held what it should
};

}  // namespace pmemd
