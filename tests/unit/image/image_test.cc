// Images on the host's file system: creation, access, freeing, and what a failing host becomes.
#include "core/image/image.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <fstream>
#include <random>
#include <vector>

#include "core/base/units.h"
#include "tests/sanitizer.h"
#include "tests/unit/failing_call.h"
#include "tests/unit/temporary_directory.h"
#include "tests/unit/temporary_tmpfs.h"

namespace pmemd {
namespace {

using ::testing::HasSubstr;

constexpr auto kReserved = Reservation::kReserved;
constexpr auto kSparse = Reservation::kSparse;

std::span<const std::byte> bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

std::string read(const MappedImage& image, uint64_t offset, uint64_t length) {
  std::string text(length, '?');
  EXPECT_EQ(image.read(offset, std::as_writable_bytes(std::span(text))).err(), 0);
  return text;
}

uint64_t allocated_bytes(const std::string& path) {
  struct stat status = {};
  EXPECT_EQ(::stat(path.c_str(), &status), 0);
  return static_cast<uint64_t>(status.st_blocks) * 512;
}

class ImageTest : public ::testing::Test {
 protected:
  std::unique_ptr<MappedImage> create(uint64_t size, Reservation reservation) {
    const auto file = ImageFile::create(path_, size, reservation);
    EXPECT_TRUE(file) << file.error().describe();
    auto image = file->map({0, size});
    EXPECT_TRUE(image) << image.error().describe();
    return *std::move(image);
  }

  TemporaryDirectory dir_;
  const std::string path_ = dir_.path() + "/region0.img";
};

TEST_F(ImageTest, AReservedImageIsAllocatedAndZero) {
  const auto image = create(4 * kMiB, kReserved);
  EXPECT_GE(allocated_bytes(path_), 4 * kMiB);
  EXPECT_TRUE(image->is_zero(0, 4 * kMiB).value());
}

TEST_F(ImageTest, ASparseImageTakesNoBlocks) {
  create(4 * kMiB, kSparse);
  EXPECT_LT(allocated_bytes(path_), 64 * kKiB);
  EXPECT_EQ(std::filesystem::file_size(path_), 4 * kMiB);
}

TEST_F(ImageTest, CreateOverAnExistingFileIsEexistAndLeavesIt) {
  std::ofstream(path_) << "precious";
  EXPECT_EQ(ImageFile::create(path_, 2 * kMiB, kSparse).err(), EEXIST);
  EXPECT_EQ(dir_.read("region0.img"), "precious");
}

TEST_F(ImageTest, CreateLargerThanTheHostCanIsEfbigAndLeavesNothing) {
  EXPECT_EQ(ImageFile::create(path_, uint64_t{1} << 60, kSparse).err(), EFBIG);
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(ImageTest, OpenOfAMissingImageIsEnoent) {
  EXPECT_EQ(ImageFile::open(path_, 2 * kMiB, kSparse).err(), ENOENT);
}

TEST_F(ImageTest, OpenOfAShortImageIsEioWithBothSizes) {
  create(2 * kMiB, kSparse);
  EXPECT_EQ(ImageFile::open(path_, 2 * kMiB, kSparse).err(), 0);
  const auto file = ImageFile::open(path_, 4 * kMiB, kSparse);
  ASSERT_EQ(file.err(), EIO);
  EXPECT_THAT(file.error().message, HasSubstr("is 2097152 bytes long"));
  EXPECT_THAT(file.error().message, HasSubstr("4194304"));
}

TEST_F(ImageTest, OpenOfSomethingElseIsEioAndDoesNotWait) {
  ASSERT_EQ(::mkfifo(path_.c_str(), 0600), 0);
  EXPECT_EQ(ImageFile::open(path_, 2 * kMiB, kSparse).err(), EIO);
}

TEST_F(ImageTest, WhatIsWrittenIsReadAndIsInTheFile) {
  const auto image = create(4 * kMiB, kSparse);
  ASSERT_TRUE(image->write(5000, bytes("hello")));
  EXPECT_EQ(read(*image, 4999, 7), std::string("\0hello\0", 7));
  ASSERT_TRUE(image->persist(5000, 5));
  EXPECT_EQ(dir_.read("region0.img").substr(5000, 5), "hello");
  ASSERT_TRUE(image->zero(5001, 3));
  EXPECT_EQ(read(*image, 5000, 5), std::string("h\0\0\0o", 5));
}

TEST_F(ImageTest, AMappedPartCountsFromItsOwnBegin) {
  const auto file = ImageFile::create(path_, 8 * kMiB, kSparse);
  ASSERT_TRUE(file);
  const auto part = file->map({4 * kMiB, 6 * kMiB});
  ASSERT_TRUE(part);
  EXPECT_EQ((*part)->size_bytes(), 2 * kMiB);
  ASSERT_TRUE((*part)->write(10, bytes("here")));
  const auto whole = file->map({0, 8 * kMiB});
  EXPECT_EQ(read(**whole, 4 * kMiB + 10, 4), "here");
  ASSERT_TRUE((*part)->discard(0, 4096));
  EXPECT_TRUE((*whole)->is_zero(0, 8 * kMiB).value());
}

TEST_F(ImageTest, EmptyRangesAreNoOps) {
  const auto image = create(2 * kMiB, kSparse);
  EXPECT_EQ(image->read(2 * kMiB, {}).err(), 0);
  EXPECT_EQ(image->write(2 * kMiB, {}).err(), 0);
  EXPECT_EQ(image->zero(2 * kMiB, 0).err(), 0);
  EXPECT_EQ(image->persist(2 * kMiB, 0).err(), 0);
  EXPECT_EQ(image->allocate(2 * kMiB, 0).err(), 0);
  EXPECT_EQ(image->discard(2 * kMiB, 0).err(), 0);
  EXPECT_TRUE(image->is_zero(2 * kMiB, 0).value());
}

TEST_F(ImageTest, ViewsAreForSystemCalls) {
  const auto image = create(2 * kMiB, kSparse);
  ASSERT_TRUE(image->write(100, bytes("view")));
  const iovec view = image->view(100, 4);
  const UniqueFd out(::open(dir_.path().c_str(), O_TMPFILE | O_RDWR, 0600));
  ASSERT_EQ(::writev(out.get(), &view, 1), 4);
  char back[4];
  ASSERT_EQ(::pread(out.get(), back, 4, 0), 4);
  EXPECT_EQ(std::string_view(back, 4), "view");
}

TEST_F(ImageTest, DiscardOfASparseImageZeroesAndGivesBlocksBack) {
  const auto image = create(4 * kMiB, kSparse);
  ASSERT_TRUE(image->write(0, bytes(std::string(2 * kMiB, 'x'))));
  ASSERT_TRUE(image->persist(0, 2 * kMiB));
  ASSERT_GE(allocated_bytes(path_), 2 * kMiB);
  ASSERT_TRUE(image->discard(4096, 2 * kMiB - 8192));
  EXPECT_LT(allocated_bytes(path_), 128 * kKiB);
  EXPECT_TRUE(image->is_zero(4096, 2 * kMiB - 8192).value());
  EXPECT_EQ(read(*image, 4095, 2), std::string("x\0", 2));
  EXPECT_EQ(read(*image, 2 * kMiB - 4097, 2), std::string("\0x", 2));
}

TEST_F(ImageTest, DiscardOfAReservedImageZeroesAndKeepsItsBlocks) {
  const auto image = create(4 * kMiB, kReserved);
  ASSERT_TRUE(image->write(0, bytes(std::string(2 * kMiB, 'x'))));
  ASSERT_TRUE(image->persist(0, 2 * kMiB));
  ASSERT_TRUE(image->discard(4096, 2 * kMiB - 8192));
  EXPECT_GE(allocated_bytes(path_), 4 * kMiB);
  EXPECT_TRUE(image->is_zero(4096, 2 * kMiB - 8192).value());
  EXPECT_FALSE(image->is_zero(0, 8192).value());
}

TEST_F(ImageTest, ZeroingWhatIsWrittenLeavesHolesAlone) {
  const auto image = create(64 * kMiB, kSparse);
  ASSERT_TRUE(image->write(4 * kMiB, bytes(std::string(kMiB, 'x'))));
  ASSERT_TRUE(image->persist(4 * kMiB, kMiB));
  ASSERT_TRUE(image->zero_written(4 * kMiB + 100, 60 * kMiB - 100));
  EXPECT_TRUE(image->is_zero(4 * kMiB + 100, 60 * kMiB - 100).value());
  EXPECT_EQ(read(*image, 4 * kMiB + 99, 2), std::string("x\0", 2));
  EXPECT_GE(allocated_bytes(path_), kMiB) << "it keeps its blocks";
  EXPECT_LT(allocated_bytes(path_), 2 * kMiB) << "and takes no more";
  EXPECT_TRUE(image->zero_written(0, 0));
}

TEST_F(ImageTest, AllocateTakesBlocksOfASparseImageAndKeepsItsSize) {
  const auto image = create(4 * kMiB, kSparse);
  ASSERT_TRUE(image->allocate(2 * kMiB, kMiB));
  EXPECT_GE(allocated_bytes(path_), kMiB);
  EXPECT_EQ(std::filesystem::file_size(path_), 4 * kMiB);
  EXPECT_TRUE(image->is_zero(0, 4 * kMiB).value());
}

TEST_F(ImageTest, IsZeroFindsASingleByteAnywhere) {
  const auto image = create(4 * kMiB, kSparse);
  for (const uint64_t offset : {uint64_t{0}, 4 * kKiB - 1, kMiB, 2 * kMiB + 5, 4 * kMiB - 1}) {
    ASSERT_TRUE(image->write(offset, bytes("x")));
    EXPECT_FALSE(image->is_zero(0, 4 * kMiB).value()) << offset;
    EXPECT_FALSE(image->is_zero(offset, 1).value()) << offset;
    EXPECT_TRUE(image->is_zero(0, offset).value()) << offset;
    EXPECT_TRUE(image->is_zero(offset + 1, 4 * kMiB - offset - 1).value()) << offset;
    ASSERT_TRUE(image->zero(offset, 1));
  }
}

TEST_F(ImageTest, ATebibyteIsMappedUsedAndDiscarded) {
  const auto begin = std::chrono::steady_clock::now();
  const auto image = create(kTiB, kSparse);
  ASSERT_TRUE(image->write(kTiB - 5, bytes("there")));
  EXPECT_EQ(read(*image, kTiB - 5, 5), "there");
  ASSERT_TRUE(image->persist(0, kTiB));
  ASSERT_TRUE(image->discard(0, kTiB));
  EXPECT_TRUE(image->is_zero(0, kTiB).value());
  const auto time = std::chrono::steady_clock::now() - begin;
  RecordProperty("ms", std::to_string(time / std::chrono::milliseconds(1)));
}

TEST_F(ImageTest, AnImageTruncatedBehindOurBackIsEioAndTheRestWorks) {
  const auto image = create(4 * kMiB, kSparse);
  ASSERT_TRUE(image->write(0, bytes("first")));
  ASSERT_EQ(::truncate(path_.c_str(), 2 * kMiB), 0);
  std::byte byte;
  for (int round = 0; round < 3; ++round) {  // the guard survives being used
    EXPECT_EQ(image->read(2 * kMiB, {&byte, 1}).err(), EIO);
    EXPECT_EQ(image->write(3 * kMiB, bytes("x")).err(), EIO);
    EXPECT_EQ(image->zero(2 * kMiB - 4096, 8192).err(), EIO);
    EXPECT_EQ(image->is_zero(0, 4 * kMiB).value(), false);
    EXPECT_EQ(read(*image, 0, 5), "first");
  }
  const iovec view = image->view(2 * kMiB, 4096);
  const UniqueFd out(::open(dir_.path().c_str(), O_TMPFILE | O_RDWR, 0600));
  EXPECT_EQ(::writev(out.get(), &view, 1), -1);
  EXPECT_EQ(errno, EFAULT);
}

// libpmem2 would abort the process.
TEST_F(ImageTest, AHostThatCannotWriteIsEioWhenPersisted) {
  const auto image = create(4 * kMiB, kSparse);
  const bool possible = run_with_failing_call(
      SYS_msync, EIO, [&] { EXPECT_EQ(image->persist(4096, 4096).err(), EIO); });
  if (!possible) GTEST_SKIP() << "system calls can't be made to fail here";
  EXPECT_EQ(image->persist(4096, 4096).err(), 0);
}

TEST_F(ImageTest, AFullHostDiskIsEnospcBeforeAndEioInTheMiddleOfAStore) {
  const TemporaryTmpfs disk(8 * kMiB);
  if (!disk.why_not().empty()) GTEST_SKIP() << disk.why_not();
  const std::string path = disk.path() + "/region0.img";
  EXPECT_EQ(ImageFile::create(path, 16 * kMiB, kReserved).err(), ENOSPC);
  EXPECT_FALSE(std::filesystem::exists(path));

  const auto file = ImageFile::create(path, 16 * kMiB, kSparse);
  ASSERT_TRUE(file) << file.error().describe();
  const auto image = *file->map({0, 16 * kMiB});
  EXPECT_EQ(image->allocate(0, 16 * kMiB).err(), ENOSPC);
  EXPECT_EQ(image->allocate(0, 2 * kMiB).err(), 0);
  EXPECT_EQ(image->write(0, bytes(std::string(16 * kMiB, 'x'))).err(), EIO);
  ASSERT_TRUE(image->discard(0, 16 * kMiB));
  EXPECT_EQ(image->write(0, bytes("room again")).err(), 0);
}

// tmpfs can't zero a range.
TEST_F(ImageTest, DiscardOfAReservedImageKeepsItsBlocksWhereTheHostCannotZero) {
  const TemporaryTmpfs disk(4 * kMiB);
  if (!disk.why_not().empty()) GTEST_SKIP() << disk.why_not();
  const std::string path = disk.path() + "/region0.img";
  const auto image = *ImageFile::create(path, 4 * kMiB, kReserved)->map({0, 4 * kMiB});
  ASSERT_TRUE(image->write(0, bytes(std::string(4 * kMiB, 'x'))));
  ASSERT_TRUE(image->discard(0, 4 * kMiB));
  EXPECT_EQ(allocated_bytes(path), 4 * kMiB);
  EXPECT_TRUE(image->is_zero(0, 4 * kMiB).value());
}

TEST_F(ImageTest, RandomOperationsDoAsAPlainArrayDoes) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  for (const Reservation reservation : {kReserved, kSparse}) {
    std::mt19937_64 random(seed);
    std::filesystem::remove(path_);
    const auto image = create(2 * kMiB, reservation);
    std::string model(2 * kMiB, '\0');
    for (int i = 0; i < 400; ++i) {
      uint64_t offset = random() % model.size();
      uint64_t length = random() % std::min<uint64_t>(model.size() - offset, 20000);
      const char byte = static_cast<char>(random());
      switch (random() % 4) {
        case 0:
          ASSERT_TRUE(image->write(offset, bytes(std::string(length, byte))));
          std::memset(model.data() + offset, byte, length);
          break;
        case 1:
          ASSERT_TRUE(image->zero(offset, length));
          std::memset(model.data() + offset, 0, length);
          break;
        case 2:
          offset = align_down(offset, kPageSize);
          length = align_down(length, kPageSize);
          ASSERT_TRUE(random() % 2 == 0 ? image->allocate(offset, length)
                                        : image->persist(offset, length));
          break;
        default:
          offset = align_down(offset, kPageSize);
          length = align_down(length, kPageSize);
          ASSERT_TRUE(image->discard(offset, length));
          std::memset(model.data() + offset, 0, length);
      }
      ASSERT_EQ(image->is_zero(offset, length).value(),
                model.find_first_not_of('\0', offset) >= offset + length);
    }
    EXPECT_EQ(read(*image, 0, model.size()), model);
  }
}

// An address that is named may be another thread's by the time it is mapped: so none is.
TEST_F(ImageTest, MappingNamesNoAddress) {
  if (kHasSanitizer) GTEST_SKIP() << "a sanitizer maps memory at addresses that it names";
  const auto file = ImageFile::create(path_, 4 * kMiB, kSparse);
  ASSERT_TRUE(file);
  const bool possible =
      run_with_failing_call(SYS_mmap, EPERM,
                            [&] {
                              const auto image = file->map({0, 4 * kMiB});
                              ASSERT_TRUE(image) << image.error().describe();
                              EXPECT_EQ((*image)->write(0, bytes("here")).err(), 0);
                            },
                            {.index = 3, .bits = MAP_FIXED});
  if (!possible) GTEST_SKIP() << "seccomp filters can't be had";
  std::string stored(4, '?');
  std::ifstream(path_).read(stored.data(), 4);
  EXPECT_EQ(stored, "here");
}

TEST_F(ImageTest, ThereIsNoRoomToMapItIsEnomemWithAWayOn) {
  const auto file = ImageFile::create(path_, 4 * kMiB, kSparse);
  ASSERT_TRUE(file);
  const bool possible =
      run_with_failing_call(SYS_mmap, ENOMEM,
                            [&] {
                              const auto image = file->map({0, 4 * kMiB});
                              EXPECT_EQ(image.err(), ENOMEM);
                              EXPECT_THAT(image.error().message, HasSubstr(path_));
                              EXPECT_THAT(image.error().hint, HasSubstr("ulimit -v"));
                            },
                            {.index = 3, .bits = MAP_SHARED});
  if (!possible) GTEST_SKIP() << "seccomp filters can't be had";
}

// What is the mapping's changes only while its mark is there, whatever changes it first.
class MarkTest : public ImageTest, public ::testing::WithParamInterface<const char*> {
 protected:
  Result<void> change(MappedImage& image) {
    const std::string_view how = GetParam();
    if (how == "write") return image.write(kMiB, bytes("new"));
    if (how == "zero") return image.zero(kMiB, kPageSize);
    if (how == "zero_written") return image.zero_written(kMiB, kPageSize);
    return image.discard(kMiB, kPageSize);
  }
};
INSTANTIATE_TEST_SUITE_P(Changes, MarkTest,
                         ::testing::Values("write", "zero", "zero_written", "discard"));

TEST_P(MarkTest, IsLookedForBeforeTheFirstChange) {
  const auto image = create(4 * kMiB, kReserved);
  ASSERT_TRUE(image->write(kPageSize, bytes("mine")));
  ASSERT_TRUE(image->write(kMiB, bytes("old")));
  const auto mark = bytes("mine");
  image->set_mark(kPageSize, {mark.begin(), mark.end()});

  std::fstream(path_, std::ios::in | std::ios::out).seekp(kPageSize).write("his!", 4);
  const auto refused = change(*image);
  EXPECT_EQ(refused.err(), EIO);
  EXPECT_THAT(refused.error().message, HasSubstr("info block"));
  EXPECT_EQ(change(*image).err(), EIO) << "not only the first";
  EXPECT_EQ(read(*image, kMiB, 3), "old");

  std::fstream(path_, std::ios::in | std::ios::out).seekp(kPageSize).write("mine", 4);
  EXPECT_EQ(change(*image).err(), 0);
  EXPECT_NE(read(*image, kMiB, 3), "old");
}

}  // namespace
}  // namespace pmemd
