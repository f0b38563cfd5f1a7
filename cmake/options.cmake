# What every target of ours is compiled with.

# assert() stays in all builds: to go on after a broken invariant is to write to the wrong page.
string(REPLACE "-DNDEBUG" "" CMAKE_CXX_FLAGS_RELWITHDEBINFO "${CMAKE_CXX_FLAGS_RELWITHDEBINFO}")
string(REPLACE "-DNDEBUG" "" CMAKE_CXX_FLAGS_RELEASE "${CMAKE_CXX_FLAGS_RELEASE}")

set(CMAKE_CXX_EXTENSIONS OFF)

add_library(pmemd_options INTERFACE)
target_compile_features(pmemd_options INTERFACE cxx_std_23)
target_include_directories(pmemd_options INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_definitions(pmemd_options INTERFACE
  _FILE_OFFSET_BITS=64
  PMEMD_VERSION="${PROJECT_VERSION}")

# Off: sign-conversion, since off_t, ssize_t and uint64_t meet in every second line. Whether they are
# errors is for the preset to say (CMAKE_COMPILE_WARNING_AS_ERROR), not for a distribution's build.
target_compile_options(pmemd_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Wnon-virtual-dtor
  $<$<CXX_COMPILER_ID:Clang>:-Wthread-safety>)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # False positives in std::string's operator+ at -O2: https://gcc.gnu.org/PR105651
  target_compile_options(pmemd_options INTERFACE -Wno-restrict)
endif()

if(PMEMD_SANITIZE)
  target_compile_options(pmemd_options INTERFACE
    -fsanitize=${PMEMD_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(pmemd_options INTERFACE -fsanitize=${PMEMD_SANITIZE})
endif()
