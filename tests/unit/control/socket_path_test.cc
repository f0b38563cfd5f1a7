#include "core/control/socket_path.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>

namespace pmemd {
namespace {

TEST(DefaultControlPath, IsWhereTheUserMayMakeOne) {
  const uid_t user = ::geteuid();
  if (user == 0) {
    EXPECT_EQ(default_control_path(), "/run/pmemd/control");
    ASSERT_EQ(::seteuid(65'432), 0);  // who has no login session
  }
  ::setenv("XDG_RUNTIME_DIR", "/somewhere", 1);
  EXPECT_EQ(default_control_path(), "/somewhere/pmemd/control");
  ::unsetenv("XDG_RUNTIME_DIR");
  if (user == 0) {
    EXPECT_EQ(default_control_path(), "/tmp/pmemd-65432/control");
    ASSERT_EQ(::seteuid(0), 0);
  }
}

}  // namespace
}  // namespace pmemd
