#include "tests/integration/support/client.h"

#include <fmt/format.h>

#include <utility>

#include "tests/integration/support/harness.h"

namespace pmemd {

Client::Client(std::function<void()> before_exec)
    : Conversation({program("pmemd_test_client")}, std::move(before_exec)) {}

void Client::map_file(const std::string& path, uint64_t length) {
  EXPECT_EQ(ask("open " + path + " rw"), "ok 0");
  EXPECT_EQ(ask(fmt::format("map 0 0 {} rw shared", length)), "ok 0");
}

}  // namespace pmemd
