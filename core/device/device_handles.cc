#include "core/device/device_handles.h"

#include <utility>

#include "core/device/device.h"

namespace pmemd {

void DeviceHandles::stop_opens() { (void)claims_.close(/*only_if_idle=*/false); }

void DeviceHandles::let_open_again() {
  if (device_.above() == nullptr) claims_.open();
}

Result<uint64_t> DeviceHandles::add(OpenHandle handle) {
  const auto id = claims_.add_handle(handle.ino, handle.pid, handle.writable,
                                     std::move(handle.charge), handle.noatime);
  if (!id) return fail(device_.content().gone_errno());
  return *id;
}

void DeviceHandles::remove(uint64_t id) {
  claims_.remove_handle(id);
  events_.forget_handle(id);
  device_.content().given().handle_gone(id);
}

void DeviceHandles::remove_process(pid_t pid) {
  for (const Reference& gone : claims_.remove_process(pid)) events_.forget(gone.handle, gone.id);
  device_.content().given().process_gone(pid);
}

void DeviceHandles::interrupt_waits() {
  claims_.interrupt();
  events_.interrupt();
  device_.content().given().interrupt_waits();
}

Result<uint64_t> DeviceHandles::added(Result<uint64_t> id) const {
  if (id.err() == ENODEV) return fail(device_.content().gone_errno());
  return id;
}

Result<uint64_t> DeviceHandles::pin(uint64_t handle, pid_t pid, FileRange range,
                                    UserBudget::Charge charge) {
  PMEMD_ASSIGN(const auto request, device_.admit(Admission::kPin));
  return added(
      claims_.add_pin(handle, pid, range, device_.references().tryget_live(), std::move(charge)));
}

Result<uint64_t> DeviceHandles::register_mapping(uint64_t handle, pid_t pid, FileRange range,
                                                 uint64_t address, UserBudget::Charge charge) {
  return added(claims_.add_mapping(handle, pid, range, address, std::move(charge)));
}

Result<uint64_t> DeviceHandles::take_over(uint64_t handle, pid_t pid, FileRange range,
                                          std::chrono::milliseconds timeout,
                                          UserBudget::Charge charge) {
  return added(claims_.add_takeover(handle, pid, range, timeout, std::move(charge)));
}

// In this order: a concurrent tell() has found the claim and is done, or finds none.
Result<void> DeviceHandles::end_claim(uint64_t handle, ReferenceKind kind, uint64_t id) {
  PMEMD_TRY(claims_.remove(handle, kind, id));
  events_.forget(handle, id);
  return {};
}

}  // namespace pmemd
