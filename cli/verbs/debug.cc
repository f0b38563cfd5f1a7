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
      "debug", "Make steps of the daemon fail or stall (it must run with --debug-faults)");
  debug->require_subcommand(1);
  const Verbs below{*debug, session, verbs.action};

  auto parameters = no_parameters();
  CLI::App* verb = below.add(
      "fail-at", "Make a step fail, or stall",
      "pmemctl debug fail-at disable.flush --count 2\n"
      "  pmemctl debug fail-at disable.revoke --delay 5s",
      [=, &session] { return call_and_tell(session, "FailAt", *parameters, "armed", "step"); });
  add_text(verb, "step", parameters, "step", "Which one: pmemctl debug list shows them")
      ->required()
      ->type_name("STEP");
  add_parsed(verb, "--count", parameters, "count", "How often (once, if not given)", parse_count)
      ->type_name("N");
  add_time(verb, "--delay", parameters, "delay_ms", "Stall so long instead of failing");

  below.add("clear", "No step fails or stalls any more", "pmemctl debug clear", [&session] {
    const auto reply = session.call("ClearFaults", Json::object());
    return reply ? kDone : session.fail(reply.error());
  });
  below.add("list", "Show the steps", "pmemctl debug list", [&session] {
    return call_and_show(session, "ListFaults", Json::object(), "faults", render_faults);
  });
}

}  // namespace pmemd::cli
