// The ioctls of private and p2p namespaces. If one needs the kernel, the worker does the work and
// answers it.
#include <utility>

#include "client/pmemd_ioctl.h"
#include "core/device/p2p_pool.h"
#include "core/removal/file_ranges.h"
#include "core/removal/p2p_return.h"
#include "daemon/fuse/ioctl.h"

namespace pmemd {
namespace {

constexpr std::chrono::seconds kReturnTimeout{10};

// Returns how many pages went to the device.
Result<uint64_t> migrate(Device& device, KernelPort& kernel, uint64_t ino, FileRange range) {
  FileRanges ranges;
  ranges.add(device, ino, range);
  return device.content().given().migrate_to_device(range, [&]() -> Result<void> {
    PMEMD_TRY(ranges.flush(kernel));
    return ranges.inval(kernel);
  });
}

// A place in the work queue. EAGAIN: the user has too much work queued.
Result<UserBudget::Charge> place_in_queue(const Ioctl& call) {
  const uid_t uid = fuse_req_ctx(call.req)->uid;
  auto charge = context_of(call.req).budgets.work.charge(uid);
  if (!charge) return fail(EAGAIN);
  return *std::move(charge);
}

// Queues `work`, which answers the call.
void submit(const Ioctl& call, UserBudget::Charge place, Worker::Work work) {
  context_of(call.req).work->submit(fuse_req_ctx(call.req)->uid, std::move(place), std::move(work));
}

}  // namespace

void do_migrate(const Ioctl& call) {
  auto request = call.device->admit(Admission::kRequest, origin_of(call.req, call.ino, "MIGRATE"));
  if (!request) return reply_error(call.req, request.err());
  const auto asked = argument<pmemd_migrate>(call);
  const auto range = range_in_file(call, asked.offset, asked.length);
  if (!range) return reply_error(call.req, range.err());
  auto place = place_in_queue(call);
  if (!place) return reply_error(call.req, place.err());
  // The request is kept until the reply has left, so a removal waits.
  auto work = [admitted = *std::move(request), answer = asked, device = call.device, req = call.req,
               ino = call.ino, range = *range, &kernel = *context_of(call.req).kernel]() mutable {
    serve_request(req, [&] {
      const auto pages = migrate(*device, kernel, ino, range);
      if (!pages) return reply_error(req, pages.err());
      answer.pages = *pages;
      reply_value(req, answer);
    });
  };
  submit(call, *std::move(place), std::move(work));
}

void do_p2p_alloc(const Ioctl& call) {
  const auto request =
      call.device->admit(Admission::kRequest, origin_of(call.req, call.ino, "P2P_ALLOC"));
  if (!request) return reply_error(call.req, request.err());
  auto buffer = argument<pmemd_p2p_alloc>(call);
  const auto alloc = [&](pid_t pid, UserBudget::Charge charge) -> Result<uint64_t> {
    PMEMD_ASSIGN(const FileRange range, call.device->content().given().alloc(
                                            call.handle, pid, buffer.length, std::move(charge)));
    return range.begin;
  };
  const auto offset = add_for_caller(call, alloc);
  if (!offset) return reply_error(call.req, offset.err());
  buffer.offset = *offset;
  reply_value(call.req, buffer);
}

void do_p2p_free(const Ioctl& call) {
  auto place = place_in_queue(call);
  if (!place) return reply_error(call.req, place.err());
  GivenPages& given = call.device->content().given();
  if (auto begun = given.begin_return(call.handle, argument<uint64_t>(call)); !begun) {
    return reply_error(call.req, begun.err());
  }
  const auto work = [device = call.device, req = call.req, &kernel = *context_of(call.req).kernel] {
    serve_request(req, [&] {
      reply_done(req, return_buffers(*device, kernel, deadline_after(kReturnTimeout)));
    });
  };
  submit(call, *std::move(place), work);
}

void return_buffers_later(FuseContext& context, const DevicePtr& device) {
  if (device->content().given().returning().empty()) return;
  // Buffers that can't return now do so when the next one returns.
  context.work->submit_once({.owner = device.get()}, [device, &kernel = *context.kernel] {
    (void)or_no_memory(
        [&] { return return_buffers(*device, kernel, deadline_after(kReturnTimeout)); });
  });
}

}  // namespace pmemd
