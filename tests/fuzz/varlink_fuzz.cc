// libFuzzer's entry to the codec of the control socket. See CMakeLists.txt.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "tests/fuzz/varlink_properties.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto wrong = pmemd::test::check_varlink_input({reinterpret_cast<const char*>(data), size});
  if (!wrong.empty()) {
    fprintf(stderr, "%.*s\n", static_cast<int>(wrong.size()), wrong.data());
    abort();
  }
  return 0;
}
