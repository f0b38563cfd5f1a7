// The verbs that make memory bad and good: InjectError, UninjectError, InjectedErrors, ClearErrors.
//
// Thread contract: daemon/verbs.h.
#pragma once

#include "daemon/verbs.h"

namespace pmemd {

HandlerResult inject_error_verb(Machine& machine, const Call& call);
HandlerResult uninject_error_verb(Machine& machine, const Call& call);
HandlerResult injected_errors_verb(const MachineView& machine, const Call& call);
HandlerResult clear_errors_verb(Machine& machine, const Call& call);

}  // namespace pmemd
