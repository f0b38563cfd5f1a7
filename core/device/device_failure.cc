// How a failure of a device's memory finds those who stand on it.
#include <cassert>
#include <unordered_map>
#include <utility>

#include "core/device/device.h"
#include "core/range/range_set.h"

namespace pmemd {
namespace {

// The file system as holder: turns ranges of the device into ranges of files.
// Models: fs/xfs/xfs_notify_failure.c xfs_dax_notify_failure() @v6.12.
class FileSystemHolder final : public DaxHolder {
 public:
  explicit FileSystemHolder(Device& device) : device_(device) {}

  Result<void> notify_failure(const DataRanges& ranges, unsigned /*mf_flags*/,
                              FailedParts& parts) override {
    if (!device_.settings().rmap) return fail(EOPNOTSUPP);
    // Writeback's admission: holders are told while the device is dying, too.
    PMEMD_ASSIGN(const auto request, device_.begin_writeback({.what = "NOTIFY_FAILURE"}));
    return request.fs().owners(ranges, parts);
  }

 private:
  Device& device_;
};

void apply(const NamespaceSettings& settings, NamespaceMedia& media) {
  media.set_clear_unit(settings.clear_unit_bytes);
  media.set_clearable(settings.clearable);
}

}  // namespace

std::unique_ptr<DaxHolder> Device::make_holder() {
  if (!is_fsdax()) return nullptr;
  auto holder = std::make_unique<FileSystemHolder>(*this);
  (void)dax_.set_holder(*holder);  // it has no other
  return holder;
}

Device::~Device() { assert(state() == State::kDisabled); }

void Device::become_leg(Device* volume) {
  assert(state() == State::kDisabled && (volume == nullptr || !is_leg()));
  above_.store(volume, std::memory_order_release);
  // Its holder is the volume, from when that is enabled.
  dax_.drop_holder();
  if (volume == nullptr) (void)dax_.set_holder(*holder_);
}

void Device::hold_for_volume() {
  if (volume_holds_.load()) return;
  volume_ref_ = pagemap_->ref().tryget_live();
  volume_holds_.store(static_cast<bool>(volume_ref_));
}

void Device::put_of_volume() {
  volume_ref_.reset();
  volume_holds_.store(false);
}

Media* Device::media_for_volume(Media::Writer writer) {
  const State now = state();
  const bool takes =
      now == State::kLive || (now == State::kDying && writer == Media::Writer::kWriteback);
  return takes ? media_.get() : nullptr;
}

DataRanges Device::data_of(const PhysRanges& ranges) const {
  const PhysRange whole = physical({0, record_.data_bytes()});
  DataRanges data;
  data.reserve(ranges.size());
  for (const PhysRange& range : ranges) {
    const PhysRange part = range.intersect(whole);
    if (part.empty()) continue;
    data.push_back(in_data(RegionRange::sized(part.begin - base_address_, part.length())));
  }
  return data;
}

DevPagemapOps Device::pagemap_ops() {
  DevPagemapOps ops = volatile_.ops();
  if (is_fsdax()) {
    ops.memory_failure = [this](const PhysRanges& ranges, unsigned mf_flags, FailedParts& parts) {
      // A leg's holder is its volume, which no setting takes away.
      if (!settings().holder && !is_leg()) return Result<void>(fail(EOPNOTSUPP));
      return dax_.notify_failure(data_of(ranges), mf_flags, parts);
    };
  }
  ops.page_mapping = [this](const PhysRanges& ranges, FailedParts& parts) {
    add_mapped(data_of(ranges), parts);
  };
  return ops;
}

void Device::add_mapped(const DataRanges& ranges, FailedParts& parts) {
  // One file, whose pages are the device's: all of them, so that those who have registered a
  // mapping that they never touched learn it too.
  if (!is_fsdax()) {
    for (const DataRange& range : ranges) {
      parts.push_back({.ino = root_ino(), .file = {range.begin, range.end}, .data = range});
    }
    return;
  }
  const auto request = begin_writeback({.what = "NOTIFY_FAILURE"});
  if (!request) return;
  FailedParts owners;
  if (!request->fs().owners(ranges, owners)) return;
  // By file: each may have many parts, and be lent in many ranges.
  std::unordered_map<uint64_t, RangeSet<FileSpace>> lent;
  for (const FailedPart& part : owners) {
    if (part.is_metadata) continue;
    const auto [of_file, is_new] = lent.try_emplace(part.ino);
    if (is_new) {
      for (const FileRange& all : leases().ranges(part.ino)) of_file->second.insert(all);
    }
    for (const FileRange& both : of_file->second.intersect(part.file)) {
      const uint64_t begin = part.data.begin + (both.begin - part.file.begin);
      parts.push_back({part.ino, both, DataRange::sized(begin, both.length())});
    }
  }
}

std::vector<DataRange> Device::errors(ErrorKind kind, DataRange range) const {
  RangeSet<DataSpace> found;
  if (is_volume()) {
    const VolumeTable& table = record_.of_volume().table;
    for (const auto& [leg, part] : table.map_by_leg(range)) {
      for (const DataRange& bad : legs_->all()[leg]->errors(kind, part)) {
        for (const DataRange& on_volume : table.rmap(leg, bad)) found.insert(on_volume);
      }
    }
    return found.ranges();
  }
  const RegionRange there = in_region(range);
  const MediaErrors& all = media_errors();
  for (const RegionRange& bad : kind == ErrorKind::kKnown      ? all.known(there)
                                : kind == ErrorKind::kInjected ? all.injected(there)
                                                               : all.latent(there)) {
    found.insert(in_data(bad));
  }
  return found.ranges();
}

void Device::apply_settings() {
  if (is_volume()) return;  // its legs have settings of their own
  const auto request = begin_media({.what = "CONFIGURE"});
  if (request) apply(settings(), static_cast<NamespaceMedia&>(*media_));
}

std::unique_ptr<NamespaceMedia> Device::make_media(std::unique_ptr<MappedImage> image) {
  auto media =
      std::make_unique<NamespaceMedia>(std::move(image), media_errors(), record_.of_namespace());
  apply(settings(), *media);
  media->set_on_latent([this](DataRange range) {
    if (media_hooks_.on_latent) media_hooks_.on_latent(*this, range);
  });
  if (media_hooks_.on_access) {
    media->set_on_access([this](DataRange range, MediaAccess access) {
      media_hooks_.on_access(*this, range, access);
    });
  }
  media->set_on_cleared([this](const std::vector<DataRange>& ranges) {
    if (media_hooks_.on_cleared) media_hooks_.on_cleared(*this, ranges);
  });
  return media;
}

}  // namespace pmemd
