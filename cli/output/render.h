// Prints the daemon's replies for people. The shapes are those of core/control/org.pmemd.varlink.
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

// One line for each reference, as Refs and the error Failed list them. Prints nothing for none.
void render_references(std::ostream& out, const Json& references);

std::string event_line(const Json& event);

}  // namespace pmemd::cli
