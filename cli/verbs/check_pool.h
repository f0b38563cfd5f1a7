// `pmemctl check --pool DIR`: the daemon's own check of a pool that it doesn't serve.
#pragma once

#include <string>

#include "cli/session/session.h"

namespace pmemd::cli {

// Executes `pmemd --check --pool DIR` in place of this program. Returns only if there is no pmemd
// beside this program or in PATH.
int check_pool(Session& session, const std::string& pool);

}  // namespace pmemd::cli
