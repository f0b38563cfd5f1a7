// Every verb: the handlers of org.pmemd's methods. One source per family.
//
// A verb that only looks gets a MachineView; one that changes a device takes a
// DeviceTable::Operation first, and looks and acts under it.
//
// Thread contract: daemon/verbs/machine.h; only wait_scrub() may be called from the thread of the
// control server's sockets: the others block.
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
Json volumes_to_json(const MachineView& machine, bool idle);  // `idle`: disabled ones, too

// list.cc: what there is.
HandlerResult list_verb(const MachineView& machine, const Call& call);
HandlerResult status_verb(const MachineView& machine);
HandlerResult check_verb(Machine& machine, const Call& call);

// refs.cc: who uses what of a device.
HandlerResult mappers_verb(const MachineView& machine, const Call& call);
HandlerResult refs_verb(const MachineView& machine, const Call& call);

// explain.cc: what the emulated physical map says about a pfn, and why.
HandlerResult explain_verb(const MachineView& machine, const Call& call);

// badblocks.cc: known bad ranges.
HandlerResult bad_blocks_verb(const MachineView& machine, const Call& call);

// inject.cc: makes memory bad, and good again.
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

// prefault.cc: reads a piece of at most 64 MiB; the caller asks for the next one, so that no work
// goes on for a caller that has gone.
HandlerResult prefault_verb(Machine& machine, const Call& call);

// debug.cc: makes steps fail (core/base/fault.h).
HandlerResult fail_at_verb(Machine& machine, const Call& call);
HandlerResult clear_faults_verb(Machine& machine, const Call& call);
HandlerResult list_faults_verb(const MachineView& machine, const Call& call);

// All handlers except the watches, by method name.
Handlers make_handlers(Machine& machine);

}  // namespace pmemd
