#include "cli/verbs/exec.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string_view>

#include "cli/verbs/sanitizer.h"

namespace pmemd::cli {
namespace {

constexpr const char* kShimVariable = "PMEMD_SHIM";
constexpr const char* kChildrenVariable = "PMEMD_CHILDREN_PRELOAD";  // read in client/shim/shim.c
constexpr const char* kAsanVariable = "ASAN_OPTIONS";

int failed_to_exec(Session& session, int code, const Error& error) {
  session.fail(failed(error));
  return code;
}

// The path in $PMEMD_SHIM, else the installed one, relative to this program.
Result<std::string> find_shim() {
  std::string path;
  if (const char* said = std::getenv(kShimVariable); said != nullptr && *said != '\0') {
    path = said;
  } else {
    std::error_code error;
    const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
    if (error) return fail(error.value(), "/proc/self/exe: " + error.message());
    path = (self.parent_path() / PMEMD_BIN_TO_LIB / "pmemd/libpmemd-shim.so").lexically_normal();
  }
  if (::access(path.c_str(), R_OK) != 0) {
    return fail_errno(path, fmt::format("{} may name the shim", kShimVariable));
  }
  // The dynamic linker separates names by these, and has no quoting.
  if (path.find_first_of(": ") != std::string::npos) {
    return fail(EINVAL, fmt::format("{}: a colon or space in the path of the shim", path));
  }
  return path;
}

int become(Session& session, const std::vector<std::string>& program) {
  std::vector<char*> arguments;
  arguments.reserve(program.size() + 1);
  for (const std::string& argument : program) {
    arguments.push_back(const_cast<char*>(argument.c_str()));
  }
  arguments.push_back(nullptr);
  session.out().flush();
  session.err().flush();
  ::execvp(arguments[0], arguments.data());
  const int code = errno == ENOENT ? kNotFound : kNotExecutable;
  return failed_to_exec(session, code, fail_errno(program.front()).error());
}

Result<void> set_variable(const char* name, const std::string& value) {
  if (::setenv(name, value.c_str(), 1) != 0) return fail_errno(name);
  return {};
}

// A sanitizer's library comes first, for the program alone: its children needn't have that
// sanitizer, and the shim gives them the rest. Programs that have AddressSanitizer in a library
// must accept that the shim comes first.
Result<void> set_preload(const std::string& shim, const std::string& program) {
  const std::string preload = preload_with(shim, std::getenv("LD_PRELOAD"));
  const auto first = sanitizers_of(find_program(program, std::getenv("PATH")));
  PMEMD_TRY(set_variable("LD_PRELOAD", first.empty()
                                           ? preload
                                           : fmt::format("{}:{}", fmt::join(first, ":"), preload)));
  if (!first.empty()) PMEMD_TRY(set_variable(kChildrenVariable, preload));
  const char* options = std::getenv(kAsanVariable);
  return set_variable(kAsanVariable,
                      fmt::format("{}{}verify_asan_link_order=0", options != nullptr ? options : "",
                                  options != nullptr ? ":" : ""));
}

int exec(Session& session, const std::vector<std::string>& program, int policy) {
  const auto shim = find_shim();
  if (!shim) return failed_to_exec(session, kExecFailed, shim.error());
  if (const auto set = set_preload(*shim, program.front()); !set) {
    return failed_to_exec(session, kExecFailed, set.error());
  }
  // The program keeps this policy until it sets another: exec keeps it, and children inherit it.
  if (policy != PR_MCE_KILL_DEFAULT && ::prctl(PR_MCE_KILL, PR_MCE_KILL_SET, policy, 0, 0) != 0) {
    return failed_to_exec(session, kExecFailed, fail_errno("PR_MCE_KILL").error());
  }
  return become(session, program);
}

}  // namespace

SplitArguments split_at_program(int argc, const char* const* argv) {
  const std::vector<const char*> all(argv, argv + argc);
  const auto is = [](std::string_view wanted) {
    return [wanted](const char* argument) { return argument == wanted; };
  };
  const auto dashes = std::ranges::find_if(all, is("--"));
  if (dashes == all.end() || std::find_if(all.begin(), dashes, is("exec")) == dashes) {
    return {all, {}};
  }
  return {{all.begin(), dashes}, {dashes + 1, all.end()}};
}

std::string preload_with(const std::string& shim, const char* before) {
  return before == nullptr || *before == '\0' ? shim : shim + ":" + before;
}

void add_exec_verb(const Verbs& verbs, const std::vector<std::string>& program) {
  Session& session = verbs.session;
  auto policy = std::make_shared<int>(PR_MCE_KILL_DEFAULT);
  auto words = std::make_shared<std::vector<std::string>>();
  CLI::App* verb = verbs.add(
      "exec", "Run a program that sees failed memory as on real hardware (SIGBUS codes, MAP_SYNC)",
      "pmemctl exec -- redis-server /etc/redis.conf\n"
      "  pmemctl exec --early -- python3 job.py --fast",
      [=, &session, &program] {
        const std::vector<std::string>& named = program.empty() ? *words : program;
        return exec(session, named, *policy);
      });
  verb->add_option("program", *words, "The program and its arguments; after --, anything")
      ->type_name("PROGRAM");
  auto* early = verb->add_flag_callback(
      "--early", [policy] { *policy = PR_MCE_KILL_EARLY; },
      "Tell it of poison in its mappings at once (BUS_MCEERR_AO), touched or not");
  auto* late = verb->add_flag_callback(
      "--late", [policy] { *policy = PR_MCE_KILL_LATE; },
      "Tell it only when it touches the poison");
  early->excludes(late);
  verb->parse_complete_callback([=, &program] {
    if (program.empty() && words->empty()) throw CLI::RequiredError("PROGRAM");
  });
}

}  // namespace pmemd::cli
