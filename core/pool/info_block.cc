#include "core/pool/info_block.h"

#include <fmt/format.h>
#include <uuid/uuid.h>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <string_view>

#include "core/pool/fletcher.h"

namespace pmemd {
namespace {

constexpr std::string_view kMagic("PMEMD_NS_INFO\0\0\0", 16);

// Where the fields lie.
constexpr size_t kVersionAt = 16;
constexpr size_t kModeAt = 20;
constexpr size_t kPoolUuidAt = 24;
constexpr size_t kNamespaceUuidAt = 40;
constexpr size_t kStartAt = 56;
constexpr size_t kSizeAt = 64;
constexpr size_t kDataOffsetAt = 72;
constexpr size_t kAlignAt = 80;
constexpr size_t kChecksumAt = kInfoBlockSize - 8;

// The numbers of modes in the block. Never changed, never reused.
struct ModeNumber {
  NamespaceMode mode;
  uint32_t number;
};
constexpr std::array kModeNumbers = {
    ModeNumber{NamespaceMode::kFsDax, 1}, ModeNumber{NamespaceMode::kDevDax, 2},
    ModeNumber{NamespaceMode::kPrivate, 3}, ModeNumber{NamespaceMode::kP2p, 4}};

template <class T>
T get(std::span<const std::byte> bytes, size_t at) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) value |= static_cast<T>(bytes[at + i]) << (8 * i);
  return value;
}

template <class T>
void put(std::span<std::byte> bytes, size_t at, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) bytes[at + i] = static_cast<std::byte>(value >> (8 * i));
}

std::string get_uuid(std::span<const std::byte> bytes, size_t at) {
  char text[UUID_STR_LEN];
  uuid_unparse_lower(reinterpret_cast<const unsigned char*>(bytes.data() + at), text);
  return text;
}

void put_uuid(std::span<std::byte> bytes, size_t at, const std::string& text) {
  const int error = uuid_parse(text.c_str(), reinterpret_cast<unsigned char*>(bytes.data() + at));
  assert(error == 0);
  (void)error;
}

// The checksum of the bytes before it.
uint64_t checksum(std::span<const std::byte> bytes) {
  Fletcher64 sum;
  for (size_t at = 0; at < kChecksumAt; at += 4) sum.add(get<uint32_t>(bytes, at));
  return sum.value();
}

}  // namespace

InfoBlock make_info_block(const std::string& pool_uuid, const NamespaceRecord& record) {
  return {.pool_uuid = pool_uuid,
          .namespace_uuid = record.uuid,
          .mode = record.mode,
          .start = record.range.begin,
          .size = record.range.length(),
          .data_offset = kNamespaceMetadataSize,
          .align = record.align};
}

std::array<std::byte, kInfoBlockSize> encode_info_block(const InfoBlock& block) {
  std::array<std::byte, kInfoBlockSize> bytes = {};
  std::memcpy(bytes.data(), kMagic.data(), kMagic.size());
  put(bytes, kVersionAt, kInfoBlockVersion);
  put(bytes, kModeAt, std::ranges::find(kModeNumbers, block.mode, &ModeNumber::mode)->number);
  put_uuid(bytes, kPoolUuidAt, block.pool_uuid);
  put_uuid(bytes, kNamespaceUuidAt, block.namespace_uuid);
  put(bytes, kStartAt, block.start);
  put(bytes, kSizeAt, block.size);
  put(bytes, kDataOffsetAt, block.data_offset);
  put(bytes, kAlignAt, block.align);
  put(bytes, kChecksumAt, checksum(bytes));
  return bytes;
}

Result<InfoBlock> decode_info_block(std::span<const std::byte> bytes) {
  if (bytes.size() != kInfoBlockSize ||
      std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0) {
    return fail(EIO, "there is no info block");
  }
  if (get<uint64_t>(bytes, kChecksumAt) != checksum(bytes)) {
    return fail(EIO, "the info block is damaged: its checksum is wrong");
  }
  const auto version = get<uint32_t>(bytes, kVersionAt);
  if (version > kInfoBlockVersion) {
    return fail(ENOTSUP,
                fmt::format("the info block's version {} is newer than this pmemd knows ({})",
                            version, kInfoBlockVersion),
                "use a newer pmemd");
  }
  const auto number = get<uint32_t>(bytes, kModeAt);
  const auto* const mode = std::ranges::find(kModeNumbers, number, &ModeNumber::number);
  if (version == 0 || mode == kModeNumbers.end()) {
    return fail(EIO,
                fmt::format("the info block is damaged: version {}, mode {}", version, number));
  }
  return InfoBlock{.pool_uuid = get_uuid(bytes, kPoolUuidAt),
                   .namespace_uuid = get_uuid(bytes, kNamespaceUuidAt),
                   .mode = mode->mode,
                   .start = get<uint64_t>(bytes, kStartAt),
                   .size = get<uint64_t>(bytes, kSizeAt),
                   .data_offset = get<uint64_t>(bytes, kDataOffsetAt),
                   .align = get<uint64_t>(bytes, kAlignAt)};
}

}  // namespace pmemd
