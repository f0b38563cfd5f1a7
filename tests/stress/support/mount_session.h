// All that programs and root do with a daemon that serves a damaged pool, and what is wrong with
// the answers. An errno is an answer; a wrong byte, and what can't come from any argument, isn't.
//
// Thread contract: one thread, of a process of its own, which something else ends if it hangs.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tests/integration/support/control_client.h"
#include "tests/integration/support/harness.h"
#include "tests/stress/support/pool_oracle.h"

namespace pmemd {

struct SessionOptions {
  const TestPool& daemon;
  std::string pool;  // its directory
  const Expected& expected;
  const std::map<std::string, std::string>& modes;  // of the undamaged pool's namespaces, by uuid
  uint64_t seed = 0;
};

class MountSession {
 public:
  explicit MountSession(const SessionOptions& options);

  // Serves it twice, with changes in between; then changes and removes all. What is wrong.
  std::string run();

 private:
  // A namespace or volume as `list` tells it.
  struct Object {
    std::string name, mode, mounted;
    bool is_enabled = false, is_shown = false, is_volume = false;
    bool is_fsdax() const { return is_volume || mode == "fsdax"; }
  };

  // Calls, and judges the answer but for what it holds. Nothing: an error.
  std::optional<Json> call(const std::string& method, const Json& parameters = Json::object());
  void stream(const std::string& method, const Json& parameters);

  void list_objects();
  bool enable_all();
  void disable_all();
  void ask_about_all();
  void ask_about(const Object& object);
  MountWalk walk();
  void look_at_device(const Object& object);
  void use_all();
  std::set<std::string> change_one_of_each(const MountWalk& before);
  void destroy_all();

  const SessionOptions& options_;
  ControlClient control_;
  std::vector<Object> objects_;
  std::vector<std::string> regions_;
  std::vector<uint64_t> bases_;
  std::set<std::string> bad_;  // devices with memory that can't be read
  std::string wrong_;
};

}  // namespace pmemd
