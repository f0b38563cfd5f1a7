// A pool in a directory of the test's own, and what tests ask of a pool.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/fault.h"
#include "core/pool/check.h"
#include "core/pool/pool.h"
#include "tests/unit/must.h"
#include "tests/unit/temporary_directory.h"

namespace pmemd {

// Of regions, namespaces or volumes.
template <class Record>
std::vector<std::string> names(const std::vector<Record>& records) {
  std::vector<std::string> texts;
  for (const Record& record : records) texts.push_back(record.name());
  return texts;
}

// What is wrong with its database and its images, each as "object: problem".
inline std::vector<std::string> findings(Pool& pool) {
  std::vector<std::string> texts;
  for (const auto& [object, problem] : must(check_regions(*must(PoolView::open(pool))))) {
    texts.push_back(object + ": " + problem);
  }
  return texts;
}

class PoolFixture : public ::testing::Test {
 protected:
  ~PoolFixture() override { FaultPoint::disarm_all(); }

  std::unique_ptr<Pool> create_pool(uint64_t region_size) const {
    return must(Pool::create(path_, region_size, Reservation::kSparse));
  }
  std::unique_ptr<Pool> open(Pool::Mode mode = Pool::Mode::kReadWrite) const {
    return must(Pool::open(path_, mode));
  }
  void reopen(Pool::Mode mode = Pool::Mode::kReadWrite) {
    pool_.reset();
    pool_ = open(mode);
  }
  // In the open pool's database; change_database(): in that of a closed one.
  void sql(const std::string& text) const {
    MutexLock lock(pool_->database().mutex());
    must(pool_->database().execute(text));
  }
  void change_database(std::string_view text) const {
    const auto database = must(Database::open(path_ + "/pool.db", Database::Mode::kReadWrite));
    MutexLock lock(database->mutex());
    must(database->execute(text));
  }
  // From now on no object of `table` can be marked as live or not; allow_marks(): it can again.
  void refuse_marks(const std::string& table) const {
    sql("CREATE TRIGGER refuse BEFORE UPDATE OF live ON " + table +
        " BEGIN SELECT RAISE(ABORT, 'refused'); END");
  }
  void allow_marks() const { sql("DROP TRIGGER refuse"); }

  const TemporaryDirectory dir_{TemporaryDirectory::Place::kInMemory};
  const std::string path_ = dir_.path() + "/pool";
  std::unique_ptr<Pool> pool_;
};

}  // namespace pmemd
