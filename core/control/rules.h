// Which parameters of a method go together: one table for the daemon, which refuses a call that
// breaks it, and for pmemctl, which says so before it calls.
//
// A parameter counts as given if it is there, not null, and not false.
//
// Thread contract: pure functions.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "core/base/error.h"
#include "core/control/varlink.h"

namespace pmemd {

// How a message calls a parameter: "dry_run", "--dry-run".
using Spelling = std::function<std::string(std::string_view parameter)>;

// EINVAL: the first rule of the method (without its interface) that `parameters` break.
Result<void> check_rules(
    std::string_view method, const Json& parameters,
    const Spelling& spell = [](auto name) { return std::string(name); });

}  // namespace pmemd
