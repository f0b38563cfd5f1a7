# The four kinds of target. Sources are always listed, never globbed.

include(GoogleTest)

# pmemd_library(<target> [SOURCES <file>...] [DEPS <core module>...] [LIBS <external target>...])
#
# A static library; without sources (headers only) an INTERFACE one. DEPS must have been added
# before, which makes core's include order the order of core/CMakeLists.txt.
function(pmemd_library target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;DEPS;LIBS")
  pmemd_check_arguments(${target})
  list(TRANSFORM arg_DEPS PREPEND core_)
  pmemd_missing_target(missing ${arg_DEPS})
  if(missing)
    message(FATAL_ERROR "${target}: needs ${missing}, which must be added before")
  endif()

  if(arg_SOURCES)
    add_library(${target} STATIC ${arg_SOURCES})
    set(scope PUBLIC)
  else()
    add_library(${target} INTERFACE)
    set(scope INTERFACE)
  endif()
  target_link_libraries(${target} ${scope} pmemd_options ${arg_DEPS} ${arg_LIBS})
endfunction()

# pmemd_module(<name> ...): core/<name>, as the library core_<name>; arguments as above.
function(pmemd_module name)
  pmemd_library(core_${name} ${ARGN})
endfunction()

# pmemd_program(<name> SOURCES <file>... LIBS <target>...): bin/<name>, installed.
function(pmemd_program name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;LIBS")
  pmemd_check_arguments(${name})
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE ${arg_LIBS})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
  install(TARGETS ${name} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endfunction()

# pmemd_test(<name> LABEL unit|integration|stress SOURCES <file>... [DEPS <core module>...]
#            [LIBS <target>...] [TIMEOUT <seconds>] [OPTIMIZED])
#
# One program <label>_<name>, one ctest test for each of its TESTs, with the label's time limit;
# target <label>_tests builds it.
# Integration and stress tests find the programs in PMEMD_BIN_DIR and run alone: they mount.
# OPTIMIZED: its own sources compute for long, and are compiled as the product is.
function(pmemd_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "OPTIMIZED" "LABEL;TIMEOUT" "SOURCES;DEPS;LIBS")
  pmemd_check_arguments(${name})
  if(arg_LABEL STREQUAL "unit")
    set(timeout 30)
  elseif(arg_LABEL STREQUAL "integration")
    set(timeout 120)
  elseif(arg_LABEL STREQUAL "stress")
    set(timeout 300)
  else()
    message(FATAL_ERROR "pmemd_test(${name}): no such LABEL: '${arg_LABEL}'")
  endif()
  if(arg_TIMEOUT)
    set(timeout ${arg_TIMEOUT})
  endif()
  set(programs pmemd pmemctl)
  if(arg_LABEL STREQUAL "unit")
    set(programs "")
  endif()
  list(TRANSFORM arg_DEPS PREPEND core_)
  pmemd_missing_target(missing ${arg_DEPS} ${programs})
  if(missing)
    message(FATAL_ERROR "${arg_LABEL}_${name}: needs ${missing}, which must be added before")
  endif()

  set(target ${arg_LABEL}_${name})
  add_executable(${target} ${arg_SOURCES})
  add_dependencies(${arg_LABEL}_tests ${target})
  target_link_libraries(${target} PRIVATE
    pmemd_options ${arg_DEPS} ${arg_LIBS} GTest::gmock GTest::gtest_main)
  if(NOT arg_OPTIMIZED)
    pmemd_compile_quickly(${target})
  endif()
  set(properties LABELS ${arg_LABEL} TIMEOUT ${timeout})
  if(programs)
    list(APPEND properties RUN_SERIAL ON)
    add_dependencies(${target} ${programs})
  endif()
  # Asked for its tests by ctest, not by the build: one that isn't built has none of its label, and
  # `ctest -L <another label>` passes it over. A test that says GTEST_SKIP() is "Skipped".
  gtest_discover_tests(${target} DISCOVERY_MODE PRE_TEST PROPERTIES ${properties})
endfunction()

# The sources of tests are compiled once and run once: half the time, without optimisation and with
# one precompiled header.
function(pmemd_compile_quickly target)
  target_compile_options(${target} PRIVATE -O0)
  if(NOT TARGET test_headers)
    set(source ${PROJECT_BINARY_DIR}/test_headers.cc)
    file(CONFIGURE OUTPUT ${source} CONTENT "")
    add_library(test_headers OBJECT ${source})
    target_compile_options(test_headers PRIVATE -O0)
    target_link_libraries(test_headers PRIVATE
      pmemd_options fmt::fmt nlohmann_json::nlohmann_json GTest::gmock)
    target_precompile_headers(test_headers PRIVATE
      <algorithm> <array> <atomic> <chrono> <filesystem> <functional> <map> <memory> <optional> <set>
      <string> <thread> <vector> <fmt/format.h> <gmock/gmock.h> <nlohmann/json.hpp>)
  endif()
  target_precompile_headers(${target} REUSE_FROM test_headers)
endfunction()

# A misspelt keyword is an error, not a source file.
macro(pmemd_check_arguments name)
  if(arg_UNPARSED_ARGUMENTS OR arg_KEYWORDS_MISSING_VALUES MATCHES "LABEL|TIMEOUT")
    message(FATAL_ERROR "${CMAKE_CURRENT_FUNCTION}(${name}): ${arg_UNPARSED_ARGUMENTS}"
                        "${arg_KEYWORDS_MISSING_VALUES}: not understood")
  endif()
endmacro()

# Sets `out` to the first of the targets that doesn't exist.
function(pmemd_missing_target out)
  foreach(target IN LISTS ARGN)
    if(NOT TARGET ${target})
      set(${out} ${target} PARENT_SCOPE)
      return()
    endif()
  endforeach()
  set(${out} "" PARENT_SCOPE)
endfunction()
