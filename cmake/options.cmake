# What every target of ours is compiled with.

# assert() stays in all builds: to go on after a broken invariant is to write to the wrong page.
foreach(flags CMAKE_C_FLAGS CMAKE_CXX_FLAGS)
  string(REPLACE "-DNDEBUG" "" ${flags}_RELWITHDEBINFO "${${flags}_RELWITHDEBINFO}")
  string(REPLACE "-DNDEBUG" "" ${flags}_RELEASE "${${flags}_RELEASE}")
endforeach()

set(CMAKE_C_EXTENSIONS OFF)
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

add_library(pmemd_sanitize INTERFACE)
if(PMEMD_SANITIZE)
  target_compile_options(pmemd_sanitize INTERFACE
    -fsanitize=${PMEMD_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(pmemd_sanitize INTERFACE -fsanitize=${PMEMD_SANITIZE})
endif()
target_link_libraries(pmemd_options INTERFACE pmemd_sanitize)

# What runs inside the programs of others (client/) is plain C.
add_library(pmemd_c_options INTERFACE)
target_compile_features(pmemd_c_options INTERFACE c_std_17)
target_include_directories(pmemd_c_options INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_definitions(pmemd_c_options INTERFACE _GNU_SOURCE _FILE_OFFSET_BITS=64)
target_compile_options(pmemd_c_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion)
