#include "cli/verbs/debug.h"

#include <fmt/format.h>

#include "cli/input/number.h"
#include "cli/output/fields.h"
#include "cli/output/table.h"

namespace pmemd::cli {
namespace {

void render_faults(std::ostream& out, const Json& faults) {
  Table table({{"STEP"},
               {"LEFT", Table::Align::kRight},
               {"HITS", Table::Align::kRight},
               {"WHAT", Table::Align::kLeft, Table::Elastic::kEnd}});
  for (const Json& fault : faults) {
    table.add({text_of(fault, "step"), text_of(fault, "left"), text_of(fault, "hits"),
               text_of(fault, "what")});
  }
  table.print(out);
}

}  // namespace

void add_debug_verbs(const Verbs& verbs) {
  Session& session = verbs.session;
  CLI::App* debug = verbs.app.add_subcommand(
      "debug", "Make the daemon's steps fail or stall (it must run with --debug-faults)");
  debug->require_subcommand(1);
  const Verbs below{*debug, session, verbs.action};

  auto parameters = no_parameters();
  CLI::App* verb = below.add(
      "fail-at", "Make a step fail, or stall",
      "pmemctl debug fail-at disable.flush --count 2\n"
      "  pmemctl debug fail-at disable.revoke --delay 5s",
      [=, &session] { return call_and_tell(session, "FailAt", *parameters, "armed", "step"); });
  add_text(verb, "step", parameters, "step", "The step; pmemctl debug list shows all")
      ->required()
      ->type_name("STEP");
  add_parsed(verb, "--count", parameters, "count", "How often (default: once)", parse_count)
      ->type_name("N");
  add_time(verb, "--delay", parameters, "delay_ms", "Stall for this long instead of failing");

  below.add("clear", "Disarm all steps", "pmemctl debug clear", [&session] {
    const auto reply = session.call("ClearFaults", Json::object());
    return reply ? kDone : session.fail(reply.error());
  });
  below.add("list", "Show the steps", "pmemctl debug list", [&session] {
    return call_and_show(session, "ListFaults", Json::object(), "faults", render_faults);
  });
}

}  // namespace pmemd::cli
