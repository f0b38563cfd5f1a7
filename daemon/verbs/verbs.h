// Every verb: what answers a method of org.pmemd. One source a family.
//
// A verb that only looks gets a MachineView; one that changes a device takes a
// DeviceTable::Operation first, and looks and acts under that one.
//
// Thread contract: daemon/verbs/machine.h; none but wait_scrub() may be called from the thread of
// the control server's sockets: they block.
#pragma once

#include "daemon/verbs/machine.h"

namespace pmemd {

// region.cc
HandlerResult create_region_verb(Machine& machine, const Call& call);
HandlerResult destroy_region_verb(Machine& machine, const Call& call);
HandlerResult enable_region_verb(Machine& machine, const Call& call);
HandlerResult disable_region_verb(Machine& machine, const Call& call);

// namespace.cc
HandlerResult create_namespace_verb(Machine& machine, const Call& call);
HandlerResult destroy_namespace_verb(Machine& machine, const Call& call);
HandlerResult enable_namespace_verb(Machine& machine, const Call& call);
HandlerResult disable_namespace_verb(Machine& machine, const Call& call);

// volume.cc
HandlerResult create_volume_verb(Machine& machine, const Call& call);
HandlerResult destroy_volume_verb(Machine& machine, const Call& call);
Json volumes_to_json(const MachineView& machine, bool idle);  // `idle`: also those disabled

// list.cc: what there is.
HandlerResult list_verb(const MachineView& machine, const Call& call);
HandlerResult status_verb(const MachineView& machine);
HandlerResult check_verb(Machine& machine, const Call& call);

// refs.cc: who has what of a device.
HandlerResult mappers_verb(const MachineView& machine, const Call& call);
HandlerResult refs_verb(const MachineView& machine, const Call& call);

// explain.cc: what the emulated physical map says of a pfn, and why.
HandlerResult explain_verb(const MachineView& machine, const Call& call);

// badblocks.cc: what is known to be bad.
HandlerResult bad_blocks_verb(const MachineView& machine, const Call& call);

// inject.cc: memory that goes bad, and good again.
HandlerResult inject_error_verb(Machine& machine, const Call& call);
HandlerResult uninject_error_verb(Machine& machine, const Call& call);
HandlerResult injected_errors_verb(const MachineView& machine, const Call& call);
HandlerResult clear_errors_verb(Machine& machine, const Call& call);

// scrub.cc
HandlerResult start_scrub_verb(Machine& machine, const Call& call);
std::expected<Progress, Refusal> wait_scrub(Machine& machine, const Call& call);  // a Watch

// configure.cc: how a namespace behaves when its memory fails.
HandlerResult settings_verb(const MachineView& machine, const Call& call);
HandlerResult configure_verb(Machine& machine, const Call& call);

// prefault.cc: a piece of at most 64 MiB; who called asks for the next one, so that nothing goes on
// for a caller that has gone.
HandlerResult prefault_verb(Machine& machine, const Call& call);

// debug.cc: steps that are made to fail (core/base/fault.h).
HandlerResult fail_at_verb(Machine& machine, const Call& call);
HandlerResult clear_faults_verb(Machine& machine, const Call& call);
HandlerResult list_faults_verb(const MachineView& machine, const Call& call);

// All but the watches, by the methods' names.
Handlers make_handlers(Machine& machine);

}  // namespace pmemd
