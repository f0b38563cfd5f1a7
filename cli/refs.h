// pmemctl refs: who has what of a namespace.
#pragma once

#include <ostream>

#include "cli/verb.h"

namespace pmemd::cli {

void add_refs_verb(const Verbs& verbs);

// References of a namespace, as Refs and the error Failed list them: a line each. Nothing, if there
// are none.
void render_references(std::ostream& out, const Json& references);

}  // namespace pmemd::cli
