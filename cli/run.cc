#include "cli/run.h"

#include <CLI/CLI.hpp>
#include <string>

#include "cli/exec.h"
#include "cli/session.h"
#include "cli/verbs.h"
#include "core/control/socket_path.h"

namespace pmemd::cli {

int run(int argc, const char* const* argv, Terminal terminal) {
  Session session(terminal);
  session.socket = default_control_path();
  Action action;
  const SplitArguments arguments = split_at_program(argc, argv);

  CLI::App app("Controls pmemd, the emulator of persistent memory.", "pmemctl");
  app.fallthrough();             // global options may follow the verb
  app.require_subcommand(0, 1);  // none is told of below, in better words
  app.get_formatter()->label("SUBCOMMAND", "VERB");
  app.get_formatter()->label("Subcommands", "Verbs");
  app.set_version_flag("--version", std::string("pmemctl ") + PMEMD_VERSION);
  app.add_option("--socket", session.socket, "The daemon's control socket")
      ->envname("PMEMD_SOCKET")
      ->type_name("PATH")
      ->capture_default_str();
  app.add_flag("-j,--json", session.json, "Print JSON, in ndctl's keys and shapes")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  app.footer(
      "Example:\n  pmemctl list -RN\n  pmemctl disable-namespace namespace0.0 --force\n"
      "Each verb has its own --help.");
  add_verbs(app, session, action);
  add_exec_verb({app, session, action}, arguments.program);

  try {
    app.parse(static_cast<int>(arguments.ours.size()), arguments.ours.data());
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error, terminal.out, terminal.err);
    std::string program = "pmemctl";
    for (const CLI::App* verb : app.get_subcommands()) program += " " + verb->get_name();
    terminal.err << "pmemctl: " << error.what() << " (see " << program << " --help)\n";
    return kUsage;
  }
  if (!action) {
    terminal.err << "pmemctl: what is to be done? (see pmemctl --help)\n";
    return kUsage;
  }
  return action();
}

}  // namespace pmemd::cli
