// Which parameters of a method go together: one table for the daemon, which refuses a call that
// breaks a rule, and for pmemctl, which reports it before it calls.
//
// A parameter counts as given if it is present, not null, and not false.
//
// Thread contract: pure functions.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "core/base/error.h"
#include "core/control/varlink.h"

namespace pmemd {

// How a message spells a parameter: "dry_run", "--dry-run".
using Spelling = std::function<std::string(std::string_view parameter)>;

// EINVAL: `parameters` break a rule of the method (named without its interface); the message tells
// the first.
Result<void> check_rules(
    std::string_view method, const Json& parameters,
    const Spelling& spell = [](auto name) { return std::string(name); });

}  // namespace pmemd
