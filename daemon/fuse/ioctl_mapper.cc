// The ioctls and the poll of mappers: they register, read what happens to their ranges, and answer
// (core/events/mapper_events.h).
#include <poll.h>

#include <chrono>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "client/pmemd_ioctl.h"
#include "core/range/range_set.h"
#include "core/range/translate.h"
#include "daemon/fuse/ioctl.h"
#include "daemon/kernel/failure_queue.h"
#include "daemon/kernel/poll_waker.h"

namespace pmemd {
namespace {

static_assert(MapperEvents::kMaxEvents == PMEMD_EVENTS_MAX);
static_assert(static_cast<int>(MapperEventKind::kPoison) == PMEMD_EVENT_POISON &&
              static_cast<int>(MapperEventKind::kPreRemove) == PMEMD_EVENT_PRE_REMOVE &&
              static_cast<int>(MapperEventKind::kRemoved) == PMEMD_EVENT_REMOVED &&
              static_cast<int>(MapperEventKind::kEnabled) == PMEMD_EVENT_ENABLED &&
              static_cast<int>(MapperEventKind::kCleared) == PMEMD_EVENT_CLEARED &&
              static_cast<int>(MapperEventKind::kTakeover) == PMEMD_EVENT_TAKEOVER);

constexpr uint32_t kInterfaceVersion = 1;
constexpr uint32_t kMaxTakeoverTimeoutMs = 10'000;
// The events that are always ready on a regular file: DEFAULT_POLLMASK of include/linux/poll.h
// @v6.12.
constexpr unsigned kAlwaysReady = POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM;

pmemd_event to_wire(const MapperEvent& event) {
  const MapperNotice& notice = event.notice;
  const auto since_1970 =
      std::chrono::duration_cast<std::chrono::nanoseconds>(notice.time.time_since_epoch());
  pmemd_event wire = {};
  wire.seq = notice.seq;
  wire.time_ns = static_cast<uint64_t>(since_1970.count());
  wire.kind = static_cast<uint32_t>(notice.kind);
  wire.flags = notice.answer_within.count() != 0 ? PMEMD_EVENT_WANTS_ANSWER : 0;
  wire.id = event.id;
  wire.offset = event.range.begin;
  wire.length = event.range.length();
  wire.address = event.address;
  wire.missed = event.missed;
  wire.timeout_ms = static_cast<uint32_t>(notice.answer_within.count());
  return wire;
}

// The first part of a file range that is known to be bad, or was touched and is about to be known:
// the query may come from a load that met it. Empty: there is none.
Result<FileRange> first_known_bad(const FailureQueue& failures, const Device::Request& request,
                                  uint64_t ino, FileRange range) {
  Device& device = request.device();
  RangeSet<FileSpace> bad;
  PMEMD_ASSIGN(const auto extents, device.content().extents(request, ino));
  for (const auto& [file, data] : extents) {
    const FileRange part = file.intersect(range);
    if (part.empty()) continue;
    const DataRange there = translate(part, file, data);
    using Kind = DeviceMemory::ErrorKind;
    const auto add = [&](DataRange found) {
      found = found.intersect(there);
      if (!found.empty()) bad.insert(translate(found, there, part));
    };
    // In this order: errors that become known meanwhile are seen at least once.
    for (const DataRange& touched : failures.touched(device, there)) {
      for (const DataRange& latent : device.memory().errors(Kind::kLatent, touched)) {
        add(latent);
      }
    }
    for (const DataRange& known : device.memory().errors(Kind::kKnown, there)) add(known);
    if (!bad.empty() && bad.ranges().front().end < part.end) break;  // the first part ends here
  }
  return bad.empty() ? FileRange{range.begin, range.begin} : bad.ranges().front();
}

pmemd_info behaviour_of(const Device& device) {
  pmemd_info info = {};
  info.version = kInterfaceVersion;
  const NamespaceSettings settings = device.settings();
  if (settings.refault == Refault::kMceErr) info.flags |= PMEMD_INFO_REFAULT_MCEERR;
  if (settings.kill == KillPolicy::kEarly) info.flags |= PMEMD_INFO_EARLY_KILL;
  const MapperPromises promises = device.content().promises();
  if (promises.fsync_keeps_data) info.flags |= PMEMD_INFO_SYNC;
  if (promises.removal_is_told) info.flags |= PMEMD_INFO_HOLDER;
  info.clear_unit = static_cast<uint32_t>(settings.clear_unit_bytes);
  return info;
}

void end_claim(const Ioctl& call, ReferenceKind kind) {
  const auto id = argument<uint64_t>(call);
  reply_done(call.req, call.device->handles().end_claim(call.handle, kind, id));
}

}  // namespace

void do_map(const Ioctl& call) {
  auto mapping = argument<pmemd_mapping>(call);
  const auto range = range_in_file(call, mapping.offset, mapping.length);
  if (!range) return reply_error(call.req, range.err());
  const auto id = add_for_caller(call, [&](pid_t pid, UserBudget::Charge charge) {
    return call.device->handles().register_mapping(call.handle, pid, *range, mapping.address,
                                                   std::move(charge));
  });
  if (!id) return reply_error(call.req, id.err());
  mapping.id = *id;
  reply_value(call.req, mapping);
}

void do_unmap(const Ioctl& call) { end_claim(call, ReferenceKind::kMapping); }

void do_takeover(const Ioctl& call) {
  auto takeover = argument<pmemd_takeover>(call);
  if (takeover.timeout_ms == 0 || takeover.timeout_ms > kMaxTakeoverTimeoutMs ||
      takeover.reserved != 0) {
    return reply_error(call.req, EINVAL);
  }
  const auto range = range_in_file(call, takeover.offset, takeover.length);
  if (!range) return reply_error(call.req, range.err());
  const std::chrono::milliseconds timeout(takeover.timeout_ms);
  const auto id = add_for_caller(call, [&](pid_t pid, UserBudget::Charge charge) {
    return call.device->handles().take_over(call.handle, pid, *range, timeout, std::move(charge));
  });
  if (!id) return reply_error(call.req, id.err());
  takeover.id = *id;
  reply_value(call.req, takeover);
}

void do_end_takeover(const Ioctl& call) { end_claim(call, ReferenceKind::kTakeover); }

void do_read_event(const Ioctl& call) {
  MapperEvents& events = call.device->handles().events();
  const auto event = events.read(call.handle);
  if (!event) return reply_error(call.req, EAGAIN);
  const pmemd_event wire = to_wire(*event);
  // If the reader was killed while it waited, keep the event: others may have the descriptor.
  if (answer(fuse_reply_ioctl, call.req, 0, &wire, sizeof(wire)) != 0) {
    events.put_back(call.handle, *event);
  }
}

void do_answer(const Ioctl& call) {
  const auto given = argument<pmemd_answer>(call);
  std::optional<MapperEvents::Answer> answer;
  if (given.answer == PMEMD_ANSWER_DONE) answer = MapperEvents::Answer::kDone;
  if (given.answer == PMEMD_ANSWER_REFUSED) answer = MapperEvents::Answer::kRefused;
  if (!answer || given.reserved != 0) return reply_error(call.req, EINVAL);
  reply_done(call.req,
             call.device->handles().events().answer(call.handle, given.seq, given.id, *answer));
}

void do_query(const Ioctl& call) {
  auto query = argument<pmemd_query>(call);
  const auto request =
      call.device->admit(Admission::kRequest, origin_of(call.req, call.ino, "QUERY"));
  if (!request) return reply_error(call.req, request.err());
  const auto range = range_in_file(call, query.offset, query.length);
  if (!range) return reply_error(call.req, range.err());
  const auto bad = first_known_bad(*context_of(call.req).failures, *request, call.ino, *range);
  if (!bad) return reply_error(call.req, bad.err());
  query.offset = bad->begin;
  query.length = bad->length();
  reply_value(call.req, query);
}

void do_info(const Ioctl& call) { reply_value(call.req, behaviour_of(*call.device)); }

namespace {

// Keeps a wakeup only for POLLPRI: any other poll(2) of a file returns at once, since a file is
// always ready. A woken process polls again (epoll does so for its caller), so each wakeup is good
// for one event.
void op_poll(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi, fuse_pollhandle* ph) {
  const PollHandle handle(ph, fuse_pollhandle_destroy);
  const DevicePtr device = context_of(req).devices.by_ino(ino);
  if (!device) return reply_error(req, ESTALE);
  MapperEvents::Wakeup wakeup;
  if (handle && (fi->poll_events & POLLPRI) != 0) {
    wakeup = [&waker = *context_of(req).waker, file = std::pair(ino, fi->fh), handle] {
      waker.wake(file, handle);
    };
  }
  const bool has_event = device->handles().events().poll(fi->fh, std::move(wakeup));
  answer(fuse_reply_poll, req, kAlwaysReady | (has_event ? POLLPRI : 0U));
}

}  // namespace

void add_poll_operation(fuse_lowlevel_ops& ops) { ops.poll = Operation<op_poll>::serve; }

}  // namespace pmemd
