// `pmemctl check --pool DIR`: the daemon's own check of a pool that it doesn't serve.
#pragma once

#include <string>

#include "cli/session/session.h"

namespace pmemd::cli {

// Becomes `pmemd --check --pool DIR`, whose exit code it is. Returns only if there is no pmemd
// beside this program nor in PATH.
int check_pool(Session& session, const std::string& pool);

}  // namespace pmemd::cli
