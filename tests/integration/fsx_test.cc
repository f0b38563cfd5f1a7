// One file under random reads, writes, mapped loads and stores, O_DIRECT, truncations and
// fallocates, against a buffer in memory (the idea of fsx, by Avadis Tevanian).
//
// PMEMD_FSX_SEED is the first seed, PMEMD_FSX_SEEDS how many follow.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <memory>
#include <random>

#include "tests/integration/support/harness.h"

namespace pmemd {
namespace {

constexpr uint64_t kMaxSize = 3'000'000;  // over 2 MiB: where files begin to be laid out otherwise
constexpr uint64_t kMaxLength = 70'000;
constexpr uint64_t kBlock = 4096;

class Fsx {
 public:
  Fsx(std::string path, uint64_t seed)
      : path_(std::move(path)),
        random_(seed),
        aligned_(static_cast<char*>(std::aligned_alloc(kBlock, 32 * kBlock)), std::free) {
    fd_.reset(open(path_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    direct_.reset(open(path_.c_str(), O_RDWR | O_DIRECT | O_CLOEXEC));
  }

  // "" or what is wrong.
  std::string step() {
    const uint64_t offset = below(kMaxSize - kMaxLength), length = 1 + below(kMaxLength);
    switch (below(12)) {
      case 0:
      case 1:
        return write_at(offset, length);
      case 2:
        return store(offset, length);
      case 3:
        return truncate(below(4) == 0 ? 0 : offset);
      case 4:
        return allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
      case 5:
        return allocate(FALLOC_FL_ZERO_RANGE | (below(2) ? FALLOC_FL_KEEP_SIZE : 0), offset,
                        length);
      case 6:
        return allocate(below(2) ? FALLOC_FL_KEEP_SIZE : 0, offset, length);
      case 7:
        return load(offset, length);
      case 8:
        return direct_write(offset, length);
      case 9:
        return direct_read(offset);
      case 10:
        return reopen();
      default:
        return read_at(offset, length);
    }
  }

  std::string compare_all() {
    const std::string found = read_file(path_);
    return compare("whole file", 0, found.data(), found.size(), model_.size());
  }
  const std::string& bytes() const { return model_; }

 private:
  uint64_t below(uint64_t bound) {
    return std::uniform_int_distribution<uint64_t>(0, bound - 1)(random_);
  }

  static std::string failed(const char* what, uint64_t offset, uint64_t length) {
    return fmt::format("{} at {} of {}: {}", what, offset, length, errno_name(errno));
  }

  std::string compare(const char* what, uint64_t offset, const char* found, uint64_t length,
                      uint64_t expected_length) const {
    if (length != expected_length) {
      return fmt::format("{} at {}: {} bytes, not {}", what, offset, length, expected_length);
    }
    for (uint64_t i = 0; i < length; ++i) {
      if (found[i] != model_[offset + i]) {
        return fmt::format("{} at {}: byte {} is {}, not {} (size {})", what, offset, offset + i,
                           int{found[i]}, int{model_[offset + i]}, model_.size());
      }
    }
    return "";
  }

  void put_in_model(uint64_t offset, const std::string& bytes) {
    model_.resize(std::max(model_.size(), offset + bytes.size()));
    model_.replace(offset, bytes.size(), bytes);
  }
  uint64_t in_file(uint64_t offset, uint64_t length) const {
    return offset >= model_.size() ? 0 : std::min(length, model_.size() - offset);
  }

  std::string write_at(uint64_t offset, uint64_t length) {
    const std::string bytes = pattern(random_(), length);
    if (pwrite(fd_.get(), bytes.data(), length, static_cast<off_t>(offset)) !=
        static_cast<ssize_t>(length)) {
      return failed("write", offset, length);
    }
    put_in_model(offset, bytes);
    return "";
  }

  std::string read_at(uint64_t offset, uint64_t length) {
    std::string bytes(length, '\0');
    const ssize_t got = pread(fd_.get(), bytes.data(), length, static_cast<off_t>(offset));
    if (got < 0) return failed("read", offset, length);
    return compare("read", offset, bytes.data(), static_cast<uint64_t>(got),
                   in_file(offset, length));
  }

  // Maps the pages that hold the range and hands over the address of its first byte.
  template <class Act>
  std::string with_mapping(uint64_t offset, uint64_t length, const Act& act) {
    length = in_file(offset, length);
    if (length == 0) return "";
    const uint64_t skip = offset % kBlock;
    void* base = mmap(nullptr, skip + length, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(),
                      static_cast<off_t>(offset - skip));
    if (base == MAP_FAILED) return failed("mmap", offset, length);
    std::string result = act(static_cast<char*>(base) + skip, length);
    if (below(2) != 0 && msync(base, skip + length, MS_SYNC) != 0) {
      result += failed("msync", offset, length);
    }
    munmap(base, skip + length);
    return result;
  }

  std::string store(uint64_t offset, uint64_t length) {
    return with_mapping(offset, length, [&](char* at, uint64_t in_reach) {
      const std::string bytes = pattern(random_(), in_reach);
      memcpy(at, bytes.data(), in_reach);
      put_in_model(offset, bytes);
      return std::string();
    });
  }

  std::string load(uint64_t offset, uint64_t length) {
    return with_mapping(offset, length, [&](const char* at, uint64_t in_reach) {
      return compare("load", offset, at, in_reach, in_reach);
    });
  }

  std::string truncate(uint64_t size) {
    if (ftruncate(fd_.get(), static_cast<off_t>(size)) != 0) return failed("truncate", size, 0);
    model_.resize(size);
    return "";
  }

  std::string allocate(int mode, uint64_t offset, uint64_t length) {
    if (fallocate(fd_.get(), mode, static_cast<off_t>(offset), static_cast<off_t>(length)) != 0) {
      return failed("fallocate", offset, length);
    }
    if ((mode & FALLOC_FL_KEEP_SIZE) == 0) {
      model_.resize(std::max(model_.size(), offset + length));
    }
    if ((mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) != 0) {
      const uint64_t cleared = in_file(offset, length);
      if (cleared != 0) model_.replace(offset, cleared, cleared, '\0');
    }
    return "";
  }

  std::string direct_write(uint64_t offset, uint64_t length) {
    offset -= offset % kBlock;
    length = std::min((length + kBlock - 1) / kBlock, uint64_t{16}) * kBlock;
    const std::string bytes = pattern(random_(), length);
    memcpy(aligned_.get(), bytes.data(), length);
    if (pwrite(direct_.get(), aligned_.get(), length, static_cast<off_t>(offset)) !=
        static_cast<ssize_t>(length)) {
      return failed("direct write", offset, length);
    }
    put_in_model(offset, bytes);
    return "";
  }

  std::string direct_read(uint64_t offset) {
    offset -= offset % kBlock;
    const ssize_t got =
        pread(direct_.get(), aligned_.get(), 16 * kBlock, static_cast<off_t>(offset));
    if (got < 0) return failed("direct read", offset, 16 * kBlock);
    return compare("direct read", offset, aligned_.get(), static_cast<uint64_t>(got),
                   in_file(offset, 16 * kBlock));
  }

  std::string reopen() {
    if (below(2) != 0 && fsync(fd_.get()) != 0) return failed("fsync", 0, 0);
    fd_.reset(open(path_.c_str(), O_RDWR | O_CLOEXEC));
    posix_fadvise(fd_.get(), 0, 0, POSIX_FADV_DONTNEED);
    struct stat st = {};
    if (fstat(fd_.get(), &st) != 0) return failed("reopen", 0, 0);
    const auto size = static_cast<uint64_t>(st.st_size);
    return size == model_.size() ? "" : fmt::format("size {}, not {}", size, model_.size());
  }

  const std::string path_;
  std::mt19937_64 random_;
  UniqueFd fd_, direct_;
  std::unique_ptr<char, void (*)(void*)> aligned_;
  std::string model_;
};

uint64_t number_from_env(const char* name, uint64_t otherwise) {
  const char* text = getenv(name);
  return text == nullptr ? otherwise : std::stoull(text);
}

class FsxTest : public MountTest {
 protected:
  static constexpr int kSteps = 2000;
  const uint64_t first_seed_ = number_from_env("PMEMD_FSX_SEED", 1);
  const uint64_t seeds_ = number_from_env("PMEMD_FSX_SEEDS", 4);
  TestPool pool_;
};

TEST_F(FsxTest, RandomOperationsOnOneFileAgreeWithAModel) {
  pool_.start();
  for (uint64_t seed = first_seed_; seed < first_seed_ + seeds_; ++seed) {
    std::cout << "seed " << seed << '\n';
    Fsx fsx(pool_.path("pmem0/file"), seed);
    for (int i = 0; i < kSteps; ++i) {
      const std::string wrong = fsx.step();
      ASSERT_EQ(wrong, "") << "seed " << seed << " step " << i;
    }
    ASSERT_EQ(fsx.compare_all(), "") << "seed " << seed;
    pool_.expect_check_passes();
  }
}

// Several files at once in a namespace that they nearly fill, with removals in between.
TEST_F(FsxTest, SeveralFilesAcrossRemovalsAgreeWithTheirModels) {
  pool_.start({.create = "24M"});
  const uint64_t seed = first_seed_;
  std::cout << "seed " << seed << '\n';
  std::vector<std::unique_ptr<Fsx>> files;
  for (uint64_t i = 0; i < 4; ++i) {
    files.push_back(std::make_unique<Fsx>(pool_.path(fmt::format("pmem0/{}", i)), seed * 100 + i));
  }
  for (int i = 0; i < kSteps; ++i) {
    const std::string wrong = files[static_cast<size_t>(i) % files.size()]->step();
    ASSERT_EQ(wrong, "") << "seed " << seed << " step " << i;
    if (i % 400 != 399) continue;
    pool_.ctl_json({"disable-namespace", "namespace0.0", "--force"});
    pool_.ctl_json({"enable-namespace", "namespace0.0"});
    for (const auto& file : files) ASSERT_EQ(file->compare_all(), "") << "seed " << seed;
  }
  pool_.expect_check_passes();
}

}  // namespace
}  // namespace pmemd
