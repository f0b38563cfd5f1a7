// A MediaObserver that remembers what it was told.
#pragma once

#include <tuple>
#include <utility>
#include <vector>

#include "core/media/media_observer.h"

namespace pmemd {

class RememberingObserver final : public MediaObserver {
 public:
  void on_latent(uint64_t ino, DataRange range) override { latent.emplace_back(ino, range); }
  void on_cleared(uint64_t ino, const std::vector<DataRange>& ranges) override {
    cleared.emplace_back(ino, ranges);
  }
  void on_access(uint64_t ino, DataRange range, MediaAccess access) override {
    accesses.emplace_back(ino, range, access);
  }
  std::vector<DataRange> latent_ranges() const {
    std::vector<DataRange> ranges;
    for (const auto& [ino, range] : latent) ranges.push_back(range);
    return ranges;
  }

  std::vector<std::pair<uint64_t, DataRange>> latent;
  std::vector<std::pair<uint64_t, std::vector<DataRange>>> cleared;
  std::vector<std::tuple<uint64_t, DataRange, MediaAccess>> accesses;
};

}  // namespace pmemd
