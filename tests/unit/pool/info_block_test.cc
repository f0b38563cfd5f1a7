// The info block: what is encoded is decoded, and nothing else is.
#include "core/pool/info_block.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

namespace pmemd {
namespace {

using ::testing::HasSubstr;

InfoBlock example() {
  return {.pool_uuid = "00112233-4455-6677-8899-aabbccddeeff",
          .namespace_uuid = "01234567-89ab-cdef-0123-456789abcdef",
          .mode = NamespaceMode::kDevDax,
          .start = 0x200000,
          .size = 0x10000000,
          .data_offset = 0x200000,
          .align = 0x200000};
}

std::string hex(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte byte : bytes) {
    constexpr char kDigits[] = "0123456789abcdef";
    text += kDigits[static_cast<size_t>(byte) >> 4];
    text += kDigits[static_cast<size_t>(byte) & 15];
  }
  return text;
}

// With its checksum made right again.
void seal(std::span<std::byte> bytes) {
  uint32_t sum = 0;
  uint32_t sum_of_sums = 0;
  for (size_t at = 0; at < kInfoBlockSize - 8; at += 4) {
    uint32_t word = 0;
    for (size_t i = 0; i < 4; ++i) word |= static_cast<uint32_t>(bytes[at + i]) << (8 * i);
    sum_of_sums += sum += word;
  }
  for (size_t i = 0; i < 4; ++i) {
    bytes[kInfoBlockSize - 8 + i] = static_cast<std::byte>(sum >> (8 * i));
    bytes[kInfoBlockSize - 4 + i] = static_cast<std::byte>(sum_of_sums >> (8 * i));
  }
}

// The worked example of docs/pool-format.md.
TEST(InfoBlock, LiesInBytesAsDocumented) {
  const auto bytes = encode_info_block(example());
  EXPECT_EQ(hex(std::span(bytes).first(88)),
            "504d454d445f4e535f494e464f000000"  // "PMEMD_NS_INFO"
            "0100000002000000"                  // version 1, devdax
            "00112233445566778899aabbccddeeff"  // pool
            "0123456789abcdef0123456789abcdef"  // namespace
            "0000200000000000"                  // start
            "0000001000000000"                  // size
            "0000200000000000"                  // data offset
            "0000200000000000");                // align
  EXPECT_TRUE(std::ranges::all_of(std::span(bytes).subspan(88, kInfoBlockSize - 96),
                                  [](std::byte byte) { return byte == std::byte{0}; }));
  EXPECT_EQ(hex(std::span(bytes).last(8)), "f170890beb84b979");
}

TEST(InfoBlock, DecodesWhatWasEncoded) {
  for (const NamespaceMode mode : kNamespaceModes) {
    InfoBlock block = example();
    block.mode = mode;
    block.size = 0x0102030405060708;
    const auto decoded = decode_info_block(encode_info_block(block));
    ASSERT_TRUE(decoded);
    EXPECT_EQ(*decoded, block);
  }
}

TEST(InfoBlock, AnyChangedByteIsRefused) {
  const auto good = encode_info_block(example());
  for (size_t at = 0; at < good.size(); ++at) {
    for (const int flip : {0x01, 0x80, 0xff}) {
      auto bad = good;
      bad[at] ^= static_cast<std::byte>(flip);
      EXPECT_EQ(decode_info_block(bad).err(), EIO) << at;
    }
  }
}

TEST(InfoBlock, OtherSizesAreRefused) {
  auto bytes = encode_info_block(example());
  std::vector<std::byte> longer(bytes.begin(), bytes.end());
  longer.push_back({});
  EXPECT_EQ(decode_info_block(longer).err(), EIO);
  EXPECT_EQ(decode_info_block(std::span(bytes).first(kInfoBlockSize - 1)).err(), EIO);
  EXPECT_EQ(decode_info_block({}).err(), EIO);
}

TEST(InfoBlock, ANewerVersionIsEnotsupAndAnUnknownModeEio) {
  auto newer = encode_info_block(example());
  newer[16] = std::byte{7};
  seal(newer);
  const auto decoded = decode_info_block(newer);
  ASSERT_EQ(decoded.err(), ENOTSUP);
  EXPECT_THAT(decoded.error().message, HasSubstr("version 7 is newer"));

  auto without_version = encode_info_block(example());
  without_version[16] = std::byte{0};
  seal(without_version);
  EXPECT_EQ(decode_info_block(without_version).err(), EIO);

  auto unknown_mode = encode_info_block(example());
  unknown_mode[20] = std::byte{5};
  seal(unknown_mode);
  EXPECT_EQ(decode_info_block(unknown_mode).err(), EIO);
}

TEST(InfoBlock, RandomBytesAreRefused) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  const auto good = encode_info_block(example());
  for (int i = 0; i < 300; ++i) {
    auto bytes = good;  // with the magic, so that the rest is looked at
    for (size_t at = 16; at < bytes.size(); ++at) bytes[at] = static_cast<std::byte>(random());
    EXPECT_EQ(decode_info_block(bytes).err(), EIO);
  }
}

}  // namespace
}  // namespace pmemd
