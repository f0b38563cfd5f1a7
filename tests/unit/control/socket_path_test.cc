#include "core/control/socket_path.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>

namespace pmemd {
namespace {

TEST(DefaultControlPath, IsWhereTheUserMayMakeOne) {
  if (::geteuid() == 0) {
    EXPECT_EQ(default_control_path(), "/run/pmemd/control");
  } else {
    ::setenv("XDG_RUNTIME_DIR", "/somewhere", 1);
    EXPECT_EQ(default_control_path(), "/somewhere/pmemd/control");
  }
}

}  // namespace
}  // namespace pmemd
