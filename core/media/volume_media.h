// The data area of a volume: those of its legs, translated by its table.
//
// A leg may be gone, or going. Data on it is EIO then, and everything else works: a write that
// touches a gone leg and others stores nothing; but writeback stores what it can and still fails,
// so that the loss is reported.
//
// Thread contract: that of Media; each leg's media lives until the caller's section ends, because
// the removal of a leg waits for that.
// Models: drivers/md/dm-linear.c linear_dax_direct_access(), linear_dax_recovery_write(),
// drivers/md/dm-stripe.c stripe_dax_direct_access() @v6.12; differs: a leg that goes away fails
// its own bytes only; a request may touch several legs.
#pragma once

#include <functional>
#include <vector>

#include "core/media/media.h"
#include "core/pool/volume_table.h"

namespace pmemd {

class VolumeMedia final : public Media {
 public:
  // A leg's media; null: it is gone, or is going and no longer takes this kind of access.
  using LegMedia = std::function<Media*(Writer writer)>;

  // As many legs as the table has.
  VolumeMedia(VolumeTable table, std::vector<LegMedia> legs);

  uint64_t size_bytes() const override { return table_.size_bytes(); }
  Result<void> read(uint64_t offset, std::span<std::byte> to) override;
  Result<void> view(DataRange range, Reader reader, std::vector<iovec>& parts) override;
  Result<void> write(uint64_t offset, std::span<const std::byte> data, Writer writer) override;
  Result<void> zero(DataRange range) override;
  Result<void> persist(DataRange range) override;
  Result<void> allocate(DataRange range) override;
  Result<void> discard(DataRange range) override;
  Result<void> drop(DataRange range) override;
  Result<uint64_t> clear(const std::vector<DataRange>& ranges) override;
  std::vector<DataRange> bad(DataRange range) const override;

 private:
  // EIO: it is gone.
  Result<Media*> leg(size_t index, Writer writer) const;
  // EIO: part of the range is on a leg that is gone.
  Result<void> check_legs(DataRange range) const;
  // Calls `act(media, leg range)` for each leg that has part of the range. Returns the first error;
  // kGoOn: tries the other legs after it.
  enum class OnError { kStop, kGoOn };
  template <class Act>
  Result<void> for_each_leg(DataRange range, OnError on_error, Act act) const;

  const VolumeTable table_;
  const std::vector<LegMedia> legs_;
};

}  // namespace pmemd
