// A directory of a test's own, removed with all that is in it, whatever becomes of the test.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>

namespace pmemd {

class TemporaryDirectory {
 public:
  // kInMemory: where an fsync costs nothing, if the machine has such a place.
  enum class Place { kOnDisk, kInMemory };
  explicit TemporaryDirectory(Place place = Place::kOnDisk) {
    const bool in_memory = place == Place::kInMemory && ::access("/dev/shm", W_OK) == 0;
    const auto parent = in_memory ? "/dev/shm" : std::filesystem::temp_directory_path();
    path_ = (parent / "pmemd-test-XXXXXX").string();
    EXPECT_NE(::mkdtemp(path_.data()), nullptr);
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::string& path() const { return path_; }

  std::string read(const std::string& name) const {
    std::ostringstream content;
    content << std::ifstream(path_ + "/" + name, std::ios::binary).rdbuf();
    return std::move(content).str();
  }

  // As they are now, whoever has them open: what a kill would leave.
  void copy_files_from(const std::string& from) const { std::filesystem::copy(from, path_); }

 private:
  std::string path_;
};

}  // namespace pmemd
