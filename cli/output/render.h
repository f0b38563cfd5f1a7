// What the daemon tells, as people read it. The shapes are those of core/control/org.pmemd.varlink.
#pragma once

#include <ostream>
#include <string>

#include "core/control/varlink.h"

namespace pmemd::cli {

void render_regions(std::ostream& out, const Json& regions);
void render_volumes(std::ostream& out, const Json& volumes);
void render_namespaces(std::ostream& out, const Json& namespaces);
void render_status(std::ostream& out, const Json& status);
void render_holders(std::ostream& out, const Json& holders);
void render_report(std::ostream& out, const Json& report);
void render_findings(std::ostream& out, const Json& findings);

// As Refs and the error Failed list them: a line each. Nothing, if there are none.
void render_references(std::ostream& out, const Json& references);

std::string event_line(const Json& event);

}  // namespace pmemd::cli
