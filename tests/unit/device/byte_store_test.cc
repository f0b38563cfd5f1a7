#include "core/device/byte_store.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "tests/unit/device/device_pool.h"

namespace pmemd {
namespace {

TEST(SystemMemory, IsZeroAndTakesNothingUntilItIsWritten) {
  const auto memory = must(SystemMemory::create(kGiB));
  std::array<std::byte, 3> bytes{std::byte{1}};
  ASSERT_TRUE(memory->read(kGiB - 3, bytes));
  EXPECT_EQ(bytes, (std::array<std::byte, 3>{}));
  EXPECT_EQ(must(memory->resident_bytes()), 0U);
}

TEST(SystemMemory, DiscardGivesItsMemoryBack) {
  const auto memory = must(SystemMemory::create(kGiB));
  const std::vector<std::byte> ones(2 * kPageSize, std::byte{1});
  ASSERT_TRUE(memory->write(kPageSize, ones));
  EXPECT_EQ(must(memory->resident_bytes()), 2 * kPageSize);
  ASSERT_TRUE(memory->discard(kPageSize, kPageSize));
  EXPECT_EQ(must(memory->resident_bytes()), kPageSize);
  std::array<std::byte, 1> byte{std::byte{7}};
  ASSERT_TRUE(memory->read(2 * kPageSize - 1, byte));
  EXPECT_EQ(byte[0], std::byte{0});
  ASSERT_TRUE(memory->read(2 * kPageSize, byte));
  EXPECT_EQ(byte[0], std::byte{1});
}

TEST(SystemMemory, AllocateTakesMemory) {
  const auto memory = must(SystemMemory::create(kGiB));
  ASSERT_TRUE(memory->allocate(0, kPageSize));
  EXPECT_EQ(must(memory->resident_bytes()), kPageSize);
}

TEST(SystemMemory, ReadingBehindItsEndIsEIO) {
  const auto memory = must(SystemMemory::create(kPageSize));
  std::array<std::byte, 2> bytes{};
  EXPECT_EQ(memory->read(kPageSize - 1, bytes).err(), EIO);
}

TEST(ImageStore, CountsFromTheDataArea) {
  DevicePool pool;
  const auto image = must(pool.pool().map_namespace(pool.devdax().record().of_namespace()));
  ImageStore store(*image, kNamespaceMetadataSize);
  const std::array<std::byte, 1> one{std::byte{1}};
  ASSERT_TRUE(store.allocate(0, kPageSize));
  ASSERT_TRUE(store.write(5, one));
  std::array<std::byte, 1> byte{};
  ASSERT_TRUE(image->read(kNamespaceMetadataSize + 5, byte));
  EXPECT_EQ(byte, one);
  ASSERT_TRUE(store.read(5, byte));
  EXPECT_EQ(byte, one);
  ASSERT_TRUE(store.discard(0, kPageSize));
  ASSERT_TRUE(store.read(5, byte));
  EXPECT_EQ(byte[0], std::byte{0});
}

}  // namespace
}  // namespace pmemd
