// Passes what requests find out about memory to the failure queue and the armed errors.
//
// Thread contract: as MediaObserver; attach() before the first request.
#pragma once

#include <cstdint>
#include <vector>

#include "core/media/media_observer.h"
#include "core/poison/armed_errors.h"
#include "daemon/kernel/failure_queue.h"

namespace pmemd {

class MediaFindings final : public MediaObserver {
 public:
  void attach(FailureQueue& failures, ArmedErrors& armed) {
    failures_ = &failures;
    armed_ = &armed;
  }

  void on_latent(uint64_t device_ino, DataRange range) override {
    failures_->note_latent(device_ino, range);
  }
  void on_cleared(uint64_t device_ino, const std::vector<DataRange>& ranges) override {
    failures_->note_cleared(device_ino, ranges);
  }
  void on_access(uint64_t device_ino, DataRange range, MediaAccess access) override {
    armed_->on_access(device_ino, range, access);
  }

 private:
  FailureQueue* failures_ = nullptr;
  ArmedErrors* armed_ = nullptr;
};

}  // namespace pmemd
