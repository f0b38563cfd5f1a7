// JSON as ndctl prints it (json-c's pretty form: two spaces, none after a colon).
#pragma once

#include <ostream>
#include <string>

#include "core/control/varlink.h"

namespace pmemd::cli {

std::string pretty(const Json& value);

// One object bare, several as an array, none not at all.
void print_objects(std::ostream& out, const Json& array);

// In one line, for streams and errors.
std::string one_line(const Json& value);

// As `ndctl list --human` does: sizes as "64.00 MiB (67.11 MB)" once they are large, addresses as
// hexadecimal strings; in all objects within.
void humanize(Json& value);

}  // namespace pmemd::cli
