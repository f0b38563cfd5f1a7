// Stores that could not be written back: told by file and range, and never in a flood.
#include "daemon/kernel/failure_queue.h"

#include <gtest/gtest.h>

#include <optional>
#include <vector>

#include "tests/unit/daemon/verbs/verbs_machine.h"

namespace pmemd::test {
namespace {

class LostStoresTest : public testing::Test {
 protected:
  LostStoresTest() {
    events_.set_sink([this](const Event& event) {
      MutexLock lock(mutex_);
      told_.push_back(event);
      told_cv_.notify_all();
    });
  }
  static FileRange page(uint64_t index) { return FileRange::sized(index * kPageSize, kPageSize); }
  // What was told, when it covers `range`.
  std::vector<Event> wait_for(FileRange range) {
    MutexLock lock(mutex_);
    const auto covers = [&] {
      RangeSet<FileSpace> all;
      for (const Event& event : told_) all.insert(event.file->range);
      return all.contains(range);
    };
    while (!covers()) told_cv_.wait(mutex_);
    return told_;
  }

  VerbsMachine machine_;
  Mutex mutex_;
  CondVar told_cv_;
  std::vector<Event> told_;
  EventBus events_;
  const FailurePorts ports_{.registry = machine_.machine().failure.registry,
                            .kernel = machine_.machine().kernel,
                            .events = events_,
                            .device_of = machine_.machine().failure.device_of};
  Worker worker_{"worker"};
  std::optional<FailureQueue> failures_{std::in_place, ports_, worker_};
  const uint64_t ino_ = machine_.used_file();
};

TEST_F(LostStoresTest, AreToldByTheirCause) {
  failures_->note_lost(ino_, page(0), ENOSPC);
  const Event first = wait_for(page(0)).back();
  EXPECT_EQ(first.kind, EventKind::kNoSpace);
  EXPECT_EQ(first.name_of_namespace, "namespace0.0");
  EXPECT_EQ(first.file->path, "/pmem0/file");
  EXPECT_EQ(first.file->range, page(0));
  failures_->note_lost(ino_, page(3), EIO);
  EXPECT_EQ(wait_for(page(3)).back().kind, EventKind::kWritebackError);
}

TEST_F(LostStoresTest, AreToldTogetherBehindTheFirst) {
  failures_->note_lost(ino_, page(0), ENOSPC);
  ASSERT_EQ(wait_for(page(0)).size(), 1u);
  constexpr uint64_t kPages = 10'000;  // no two beside each other
  for (uint64_t i = 1; i <= kPages; ++i) failures_->note_lost(ino_, page(2 * i), ENOSPC);
  const auto told = wait_for(page(2 * kPages));
  EXPECT_LT(told.size(), 100u);
}

TEST_F(LostStoresTest, AreToldAtTheEndWithoutTheirSecond) {
  failures_->note_lost(ino_, page(0), ENOSPC);
  wait_for(page(0));
  failures_->note_lost(ino_, page(7), EIO);
  failures_.reset();
  EXPECT_EQ(wait_for(page(7)).back().kind, EventKind::kWritebackError);
}

// The kernel may go on with a file that nobody has any more.
TEST_F(LostStoresTest, OfAFileThatIsUnknownAreNoEvent) {
  failures_->note_lost(make_inode_number(4711, kRootIndex), page(0), ENOSPC);
  failures_->note_lost(ino_, page(1), ENOSPC);
  for (const Event& event : wait_for(page(1))) EXPECT_EQ(event.file->path, "/pmem0/file");
}

}  // namespace
}  // namespace pmemd::test
