// The verbs of pmemctl: each declares its options and says what to do.
#pragma once

#include <CLI/CLI.hpp>

#include "cli/verbs/verb.h"

namespace pmemd::cli {

// Adds all verbs to `app`. `session` and `action` must outlive it.
void add_verbs(CLI::App& app, Session& session, Action& action);

}  // namespace pmemd::cli
