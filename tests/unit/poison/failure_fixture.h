// Two live devices whose memory can fail: what a failure acts on.
#pragma once

#include <memory>

#include "core/base/fault.h"
#include "core/poison/poison.h"
#include "tests/unit/removal/removal_fixture.h"

namespace pmemd {

class FailureFixture : public RemovalFixture {
 protected:
  ~FailureFixture() override { FaultPoint::disarm_all(); }

  // Not an owner: the fixture's pool is.
  static std::shared_ptr<Device> shared(Device& device) {
    return std::shared_ptr<Device>(std::shared_ptr<void>(), &device);
  }

  const FailurePorts ports_{pool_.registry(), kernel_, events_, [this](uint64_t ino) {
                              return shared(inode_serial(ino) == 1 ? fsdax_ : devdax_);
                            }};
};

}  // namespace pmemd
