// Random calls of every method of org.pmemd, valid and not.
//
// Objects are of two kinds. The kept ones are there from the start to the end; programs hold files
// in them whose bytes are compared, so nothing here destroys them or makes them bad. The others
// come and go.
//
// Thread contract: a VerbCalls belongs to one thread; `Shared` is for all.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "tests/integration/support/harness.h"
#include "tests/stress/support/known_verbs.h"

namespace pmemd {

struct VerbCall {
  std::string method;
  Json parameters;
  bool streams = false;     // with "more"; has any number of replies
  bool is_invalid = false;  // wrong by the interface: InvalidParameter is the only answer
};

class VerbCalls {
 public:
  struct Shared {
    std::vector<std::string> steps;  // that can be made to fail
  };

  VerbCalls(uint64_t seed, Shared& shared) : random_(seed), shared_(shared) {}

  VerbCall next();

  uint64_t below(uint64_t end) { return random_() % end; }
  bool chance(unsigned percent) { return below(100) < percent; }

 private:
  friend std::vector<std::string_view> known_verbs();
  struct Verb;
  static const std::vector<Verb>& verbs();

  std::string_view one_of(std::initializer_list<std::string_view> texts);
  std::string name_of_any();
  std::string name_of_others();
  std::string region();
  Json place(std::string name);
  void add_range(Json& json);
  void add_flags(Json& json, std::initializer_list<std::string_view> names, unsigned percent);
  void spoil(VerbCall& call);

  Json list();
  Json create_region();
  Json destroy_region();
  Json create_namespace();
  Json destroy_namespace();
  Json create_volume();
  Json destroy_volume();
  Json removal(const char* key, std::string name);
  Json refs();
  Json explain();
  Json prefault();
  Json configure();
  Json scrub();
  Json inject();
  Json fail_at();
  Json monitor();

  std::mt19937_64 random_;
  Shared& shared_;
};

}  // namespace pmemd
