// JSON as ndctl prints it (json-c's pretty form: two spaces, none after a colon).
#pragma once

#include <ostream>
#include <string>

#include "core/control/varlink.h"

namespace pmemd::cli {

std::string pretty(const Json& value);

// Prints one object bare, several as an array, and nothing for none.
void print_objects(std::ostream& out, const Json& array);

// On one line, for streams and errors.
std::string one_line(const Json& value);

// As `ndctl list --human` does, in all nested objects too: large sizes as "64.00 MiB (67.11 MB)",
// addresses as hexadecimal strings.
void humanize(Json& value);

}  // namespace pmemd::cli
