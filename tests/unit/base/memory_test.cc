#include "core/base/memory.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/unit/failing_allocation.h"

namespace pmemd {
namespace {

void* never(size_t /*bytes*/) { return nullptr; }

// Volatile: a compiler may leave out an allocation that nobody uses.
void* take(size_t bytes) {
  void* volatile memory = ::operator new(bytes);
  return memory;
}

// From now on malloc gives nothing.
class Exhausted {
 public:
  Exhausted() { set_allocate_hook(never); }
  ~Exhausted() { set_allocate_hook(nullptr); }
};

class Memory : public testing::Test {
 protected:
  void SetUp() override {
    if (!FailingAllocation::is_possible()) GTEST_SKIP() << "operator new is a sanitizer's";
  }
};

TEST_F(Memory, ThatRunsOutIsAnError) {
  Result<void> result;
  {
    const Exhausted memory;
    result = or_no_memory([]() -> Result<void> {
      const std::vector<int> numbers(1000);
      return {};
    });
  }
  EXPECT_EQ(result.err(), ENOMEM);
  EXPECT_EQ(result.error().message, "out of memory");
}

TEST_F(Memory, OfTheReserveIsForWhatMustBeAllocatedAndComesBack) {
  const size_t before = reserve_used_bytes();
  {
    const Exhausted memory;
    std::vector<std::unique_ptr<std::string>> texts;
    {
      const MustAllocate section;
      texts.reserve(100);
      for (size_t i = 0; i < 100; ++i) texts.push_back(std::make_unique<std::string>(i * 10, 'x'));
    }
    EXPECT_GT(reserve_used_bytes(), before + 40000);
    for (size_t i = 0; i < 100; ++i) EXPECT_EQ(texts[i]->size(), i * 10);
    for (size_t i = 0; i < 100; i += 2) texts[i].reset();
    for (size_t i = 1; i < 100; i += 2) texts[i].reset();
  }
  EXPECT_EQ(reserve_used_bytes(), before);
  // In one piece again.
  const Exhausted memory;
  const MustAllocate section;
  void* const most = take((size_t{3} << 20) + 4096);
  bool is_out = false;
  try {
    ::operator delete(take(size_t{1} << 20));
  } catch (const std::bad_alloc&) {
    is_out = true;
  }
  ::operator delete(most);
  EXPECT_TRUE(is_out) << "it has an end";
}

TEST_F(Memory, OfTheReserveAVerbMayTakeHalf) {
  const Exhausted memory;
  const MayUseReserve verb;
  void* const some = take(size_t{1} << 20);
  EXPECT_THROW(take(size_t{1} << 20), std::bad_alloc) << "with what is the block's own";
  {
    const MustAllocate section;  // what it has begun, it ends
    ::operator delete(take(size_t{2} << 20));
  }
  ::operator delete(some);
}

TEST_F(Memory, FailsAtTheAllocationThatATestSays) {
  const FailingAllocation second(2);
  ::operator delete(take(1));
  EXPECT_FALSE(second.hit());
  EXPECT_THROW(take(1), std::bad_alloc);
  EXPECT_TRUE(second.hit());
}

}  // namespace
}  // namespace pmemd
