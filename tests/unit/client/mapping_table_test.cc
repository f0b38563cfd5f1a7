#include "client/shim/mapping_table.h"

#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>
#include <vector>

namespace pmemd::test {
namespace {

constexpr uint64_t kPage = 4096;
constexpr KeeperFile kFile = {1, 1};

// Its offset tells its start, so that a reader sees whether what it got is of one piece.
mapping at(uint64_t first_page, uint64_t pages, uint64_t id = 0) {
  return {
      first_page * kPage, (first_page + pages) * kPage, first_page * kPage * 3, kFile, id, 0, 1, 1};
}

class MappingTable : public ::testing::Test {
 protected:
  void SetUp() override { clear(); }
  void TearDown() override { clear(); }
  static void clear() { mapping_table_splice(0, mapping_table_count(), nullptr, 0); }
  static void insert(const mapping& mapping) {
    ASSERT_EQ(mapping_table_reserve(1), 0);
    mapping_table_splice(mapping_table_after(mapping.start), 0, &mapping, 1);
  }
};

TEST_F(MappingTable, FindsByAddressAndByRange) {
  for (const uint64_t page : {30, 10, 20}) insert(at(page, 5, page));
  mapping found = {};
  EXPECT_FALSE(mapping_table_find(10 * kPage - 1, &found));
  for (const uint64_t page : {10, 20, 30}) {
    for (const uint64_t address : {page * kPage, (page + 5) * kPage - 1}) {
      ASSERT_TRUE(mapping_table_find(address, &found));
      EXPECT_EQ(found.start, page * kPage);
      EXPECT_EQ(found.id, page);
    }
    EXPECT_FALSE(mapping_table_find((page + 5) * kPage, &found));
  }
  EXPECT_TRUE(mapping_table_overlaps(0, 10 * kPage + 1));
  EXPECT_FALSE(mapping_table_overlaps(0, 10 * kPage));
  EXPECT_FALSE(mapping_table_overlaps(15 * kPage, 20 * kPage));
  EXPECT_FALSE(mapping_table_overlaps(12 * kPage, 12 * kPage));
  EXPECT_FALSE(mapping_table_overlaps(35 * kPage, UINTPTR_MAX));
  EXPECT_TRUE(mapping_table_overlaps(0, UINTPTR_MAX));
}

TEST_F(MappingTable, SplicesInPlaceOfOthers) {
  for (uint64_t page = 0; page < 100; page += 10) insert(at(page, 5));
  const std::vector<mapping> three = {at(31, 1), at(33, 1), at(35, 1)};
  mapping_table_splice(3, 2, three.data(), 3);
  std::vector<uint64_t> starts;
  for (size_t i = 0; i < mapping_table_count(); ++i) {
    starts.push_back(mapping_table_get(i).start / kPage);
  }
  EXPECT_EQ(starts, (std::vector<uint64_t>{0, 10, 20, 31, 33, 35, 50, 60, 70, 80, 90}));
  mapping_table_splice(1, 8, three.data(), 1);
  EXPECT_EQ(mapping_table_count(), 4U);
  EXPECT_EQ(mapping_table_get(1).start, 31 * kPage);
  EXPECT_EQ(mapping_table_get(3).start, 90 * kPage);
}

TEST_F(MappingTable, GrowsAsNeeded) {
  for (uint64_t page = 0; page < 2000; page += 2) insert(at(page, 1, page));
  ASSERT_EQ(mapping_table_count(), 1000U);
  mapping found = {};
  for (uint64_t page = 0; page < 2000; ++page) {
    EXPECT_EQ(mapping_table_find(page * kPage, &found), page % 2 == 0);
  }
}

// Readers while the table changes and grows: what they find has the address, and is of one piece;
// what nobody takes out is always found.
TEST_F(MappingTable, LookupsWhileOthersChangeIt) {
  insert(at(5000, 3));
  std::atomic<bool> stopping = false;
  std::atomic<uint64_t> lookups = 0;
  std::vector<std::thread> readers;
  readers.reserve(3);
  for (uint32_t seed = 0; seed < 3; ++seed) {
    readers.emplace_back([&, seed] {
      std::minstd_rand random(seed + 1);
      while (!stopping) {
        const uint64_t address = random() % 4000 * kPage;
        mapping found = {};
        if (mapping_table_find(address, &found)) {
          ASSERT_TRUE(found.start <= address && address < found.end);
          ASSERT_EQ(found.offset, found.start * 3);
        }
        ASSERT_TRUE(mapping_table_find(5001 * kPage, &found));
        ++lookups;
      }
    });
  }
  std::minstd_rand random(7);
  for (uint64_t change = 0; change < 3000 || lookups < 1000; ++change) {
    const uint64_t page = random() % 1000 * 4;
    const size_t index = mapping_table_after(page * kPage);
    const bool there = mapping_table_overlaps(page * kPage, (page + 4) * kPage);
    if (there) {
      mapping_table_splice(index, 1, nullptr, 0);
    } else {
      insert(at(page, 1 + random() % 4));
    }
  }
  stopping = true;
  for (std::thread& reader : readers) reader.join();
}

}  // namespace
}  // namespace pmemd::test
