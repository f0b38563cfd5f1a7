#include "cli/verbs/check_pool.h"

#include <unistd.h>

#include <filesystem>
#include <vector>

namespace pmemd::cli {

int check_pool(Session& session, const std::string& pool) {
  std::vector<const char*> arguments = {"pmemd", "--check", "--pool", pool.c_str()};
  if (session.json) arguments.push_back("--json");
  arguments.push_back(nullptr);
  session.out().flush();
  session.err().flush();

  auto* const argv = const_cast<char* const*>(arguments.data());
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (!error) ::execv((self.parent_path() / "pmemd").c_str(), argv);
  ::execvp("pmemd", argv);
  return session.fail(failed(
      pmemd::fail_errno("pmemd", "the check is the daemon's: install it beside pmemctl").error()));
}

}  // namespace pmemd::cli
