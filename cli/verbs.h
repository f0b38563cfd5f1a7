// The verbs of pmemctl: each declares its options and says what to do.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

#include "cli/session.h"

namespace pmemd::cli {

// What the verb that was given does; returns the exit code. Set while the command line is parsed.
using Action = std::function<int()>;

// Adds all verbs to `app`. `session` and `action` must outlive it.
void add_verbs(CLI::App& app, Session& session, Action& action);

}  // namespace pmemd::cli
