// The memory under a device: its namespace's part of an image, or the legs of a volume.
//
// Thread contract: as Device. Life (map() … unmap()): the thread that enables or removes the
// device.
#pragma once

#include <cstdint>
#include <future>
#include <memory>
#include <span>
#include <vector>

#include "core/base/error.h"
#include "core/image/image.h"
#include "core/media/media.h"
#include "core/media/media_observer.h"
#include "core/pagemap/dev_pagemap.h"
#include "core/pagemap/pagemap_registry.h"
#include "core/pool/pool.h"

namespace pmemd {

class Device;

class DeviceMemory {
 public:
  DeviceMemory() = default;
  virtual ~DeviceMemory() = default;
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  // While it is mapped: the bytes, and the image (null: a volume).
  Media* media() const { return media_.get(); }
  virtual MappedImage* image() const { return nullptr; }

  enum class ErrorKind { kKnown, kInjected, kLatent };
  // Bad parts of `range`, in order. A volume's come from its legs.
  virtual std::vector<DataRange> errors(ErrorKind kind, DataRange range) const = 0;
  // For a volume, the last page of each leg, and of its legs' legs: where the volume's last page
  // lies if the legs were assembled in another order. For a namespace, none.
  virtual std::vector<DataRange> last_pages() const { return {}; }
  // Applies configured settings at once. A volume's legs have settings of their own.
  virtual void apply_settings() {}
  // Call before the first map(). Null: no observer. A volume's legs have their own.
  virtual void set_observer(MediaObserver* /*observer*/) {}

  // --- a namespace's; a volume's memory is its legs'
  virtual PhysRange physical(DataRange /*range*/) const { return {}; }
  virtual DataRanges data_of(const PhysRanges& /*ranges*/) const { return {}; }  // in the data area
  // The region's errors; also while the namespace is disabled. ENXIO: a volume.
  virtual Result<MediaErrors*> media_errors() const = 0;

  // --- a volume's
  virtual std::span<const std::shared_ptr<Device>> legs() const { return {}; }  // in order
  virtual bool uses_legs() const { return false; }  // from map() until unmap()
  // While it uses them: a leg was enabled, or its removal taken back.
  virtual void take_leg(Device& /*leg*/) {}
  // The volume is destroyed: its legs are free.
  virtual void free_legs() {}

  // --- life, in this order. An error leaves it as before.
  // ENXIO: a leg isn't enabled. EIO, ENOMEM: the image can't be mapped.
  virtual Result<void> map() = 0;
  // The ranges and the metadata of the device's pagemap; Device adds the rest.
  virtual DevPagemap::Setup pagemap_setup() const { return {}; }
  // ENOMEM: the range belongs to another pagemap. ENXIO: it is System RAM.
  virtual Result<void> memremap(DevPagemap& pagemap) = 0;
  virtual void resurrect(DevPagemap& pagemap) = 0;  // a pagemap that was killed
  virtual Result<void> persist() = 0;               // all it can; returns the first error
  virtual void unmap() = 0;

 protected:
  std::unique_ptr<Media> media_;
};

class NamespaceMemory : public DeviceMemory {
 public:
  NamespaceMemory(Device& device, Pool& pool, PagemapRegistry& registry,
                  const RegionRecord& region);

  MappedImage* image() const override { return image_; }
  std::vector<DataRange> errors(ErrorKind kind, DataRange range) const override;
  void apply_settings() override;

  Result<void> map() override;
  DevPagemap::Setup pagemap_setup() const override;
  Result<void> memremap(DevPagemap& pagemap) override { return registry_.memremap_pages(pagemap); }
  void resurrect(DevPagemap& pagemap) override { registry_.resurrect(pagemap); }
  Result<void> persist() override { return image_->persist(0, image_->size_bytes()); }
  void unmap() override;

  PhysRange physical(DataRange range) const override;
  DataRanges data_of(const PhysRanges& ranges) const override;
  Result<MediaErrors*> media_errors() const override { return media_errors_.get(); }
  void set_observer(MediaObserver* observer) override { observer_ = observer; }

 private:
  Device& device_;
  Pool& pool_;
  PagemapRegistry& registry_;
  const uint64_t base_address_;  // of its region
  // Shared: a device may outlive its destroyed region while the kernel knows its inodes.
  const std::shared_ptr<MediaErrors> media_errors_;
  MediaObserver* observer_ = nullptr;
  MappedImage* image_ = nullptr;  // the media's
  std::future<void> unmapping_;   // the previous media, being unmapped
};

}  // namespace pmemd
