# What comes from outside, all of it from Debian (script/bootstrap). Which module may use what is in
# script/check-layers.

find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(CLI11 REQUIRED)
find_package(nlohmann_json REQUIRED)

pkg_check_modules(FUSE3 REQUIRED IMPORTED_TARGET fuse3>=3.14)
pkg_check_modules(PMEM2 REQUIRED IMPORTED_TARGET libpmem2)
pkg_check_modules(SQLITE3 REQUIRED IMPORTED_TARGET sqlite3)
pkg_check_modules(SYSTEMD REQUIRED IMPORTED_TARGET libsystemd)
pkg_check_modules(UUID REQUIRED IMPORTED_TARGET uuid)

# The API of 3.14, which later libfuse releases keep offering.
target_compile_definitions(PkgConfig::FUSE3 INTERFACE FUSE_USE_VERSION=314)

if(PMEMD_BUILD_TESTS)
  find_package(GTest)
  if(NOT GTest_FOUND)
    message(STATUS "no GoogleTest (libgtest-dev, libgmock-dev): no tests")
  endif()
endif()
