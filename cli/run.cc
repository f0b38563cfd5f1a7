#include "cli/run.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <memory>
#include <string>

#include "cli/session/session.h"
#include "cli/verbs/exec.h"
#include "cli/verbs/verbs.h"

namespace pmemd::cli {
namespace {

// "pmemctl list"
std::string command_of(const CLI::App& app) {
  std::string command = app.get_name();
  for (const CLI::App* verb : app.get_subcommands()) command += " " + verb->get_name();
  return command;
}

// CLI11 appends a positional's allowed count, as in "legs(1x)".
class Formatter : public CLI::Formatter {
 public:
  std::string make_option_usage(const CLI::Option* option) const override {
    const std::string name = option->get_name() + (option->get_expected_max() > 1 ? "..." : "");
    return option->get_required() ? name : "[" + name + "]";
  }
};

}  // namespace

int run(int argc, const char* const* argv, Terminal terminal) {
  Session session(terminal);
  Action action;
  const SplitArguments arguments = split_at_program(argc, argv);

  CLI::App app("Controls pmemd, the emulator of persistent memory.", "pmemctl");
  app.fallthrough();             // global options may follow the verb
  app.require_subcommand(0, 1);  // a missing one gets a better message below
  app.formatter(std::make_shared<Formatter>());
  app.get_formatter()->label("SUBCOMMAND", "VERB");
  app.get_formatter()->label("Subcommands", "Verbs");
  app.set_version_flag("--version", std::string("pmemctl ") + PMEMD_VERSION);
  CLI::Option* const socket =
      app.add_option(
             "--socket", session.socket,
             "The daemon's control socket (default: of the daemon whose file is named, else of "
             "the only one that runs; or $PMEMD_SOCKET)")
          ->type_name("PATH");
  app.add_option("-i,--instance", session.instance, "The daemon of the service pmemd@NAME")
      ->type_name("NAME")
      ->excludes(socket);
  app.add_flag("-j,--json", session.json, "Print JSON, in ndctl's keys and shapes")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  app.footer(
      "Example:\n  pmemctl list -RN\n  pmemctl disable-namespace namespace0.0 --force\n"
      "Each verb has its own --help.");
  add_verbs(app, session, action);
  add_exec_verb({app, session, action}, arguments.program);

  try {
    app.parse(static_cast<int>(arguments.ours.size()), arguments.ours.data());
  } catch (const CLI::ExtrasError&) {
    terminal.err << fmt::format("pmemctl: not understood: {} (see {} --help)\n",
                                fmt::join(app.remaining(/*recurse=*/true), " "), command_of(app));
    return kUsage;
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error, terminal.out, terminal.err);
    terminal.err << "pmemctl: " << error.what() << " (see " << command_of(app) << " --help)\n";
    return kUsage;
  }
  if (!action) {
    terminal.err << "pmemctl: what is to be done? (see pmemctl --help)\n";
    return kUsage;
  }
  const char* const from_environment = std::getenv("PMEMD_SOCKET");
  if (session.socket.empty() && session.instance.empty() && from_environment != nullptr) {
    session.socket = from_environment;
  }
  return action();
}

}  // namespace pmemd::cli
