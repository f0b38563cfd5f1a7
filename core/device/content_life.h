// How a content comes into service and leaves it. Only its device calls it.
//
// Thread contract: the thread that enables or removes the device; what failures need (ops(),
// add_mapped()): any thread that serves no requests.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "core/base/error.h"
#include "core/base/srcu.h"
#include "core/device/content.h"
#include "core/failure/dax_device.h"
#include "core/image/image.h"
#include "core/media/media.h"
#include "core/pagemap/dev_pagemap.h"

namespace pmemd {

class Pool;

class ContentLife : public DeviceContent {
 public:
  // The content for the record's mode.
  static std::unique_ptr<ContentLife> make(Device& device, Pool& pool);

  using DeviceContent::DeviceContent;

  // --- constant
  virtual std::unique_ptr<DaxHolder> make_holder() { return nullptr; }
  virtual DevPagemapOps ops() { return {}; }  // without page_mapping, which is the device's
  // Adds those parts of the ranges that may be mapped.
  virtual void add_mapped(const DataRanges& ranges, FailedParts& parts) = 0;

  // --- in this order. An error leaves it as before.
  struct Mount {
    Media& media;
    MappedImage* image;  // null: a volume
    bool clean;          // the last disable was in order
    Srcu& srcu;
    LookupCounts& lookups;
    std::function<Result<void>()> mark_in_use;  // once, before anything changes
  };
  virtual Result<void> mount(const Mount& mount);
  // The pagemap is set up; it and the image live until detach().
  virtual void attach(DevPagemap& /*pagemap*/, MappedImage* /*image*/) {}
  // Live → dead: keeps the attributes for last_attributes(). Drops them when the device is live
  // again.
  virtual void keep_attributes() {}
  virtual void forget_attributes() {}
  // Makes durable what it has in memory, and with `persist` what is in the image. After an error
  // it goes on; returns the first.
  virtual Result<void> detach(MappedImage* image, const std::function<Result<void>()>& persist);
  struct CleanMark {
    bool clean = true;
    std::optional<uint64_t> checksum = {};  // of a file system's extents
  };
  virtual Result<CleanMark> clean_mark() { return CleanMark{}; }
  virtual void unmount() {}
};

}  // namespace pmemd
