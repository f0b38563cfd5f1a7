#include "cli/verbs/scrub.h"

#include <fmt/format.h>

#include <map>
#include <optional>

#include "cli/input/number.h"
#include "cli/output/fields.h"
#include "cli/output/json_output.h"
#include "cli/session/client.h"
#include "core/base/units.h"

namespace pmemd::cli {
namespace {

// The bus as ndctl prints it, with our scrubs added.
void print_bus(Session& session, const Json& scrubs) {
  bool is_active = false;
  for (const Json& scrub : scrubs) is_active = is_active || flag_of(scrub, "running");
  session.out() << pretty({{"provider", "pmemd"},
                           {"dev", "ndbus0"},
                           {"scrub_state", is_active ? "active" : "idle"},
                           {"scrubs", scrubs}})
                << '\n';
}

std::string where(const Json& scrub) {
  const uint64_t begin = number_of(scrub, "offset");
  return fmt::format("{} {:#x}-{:#x}", text_of(scrub, "region"), begin,
                     begin + number_of(scrub, "length"));
}

std::string outcome(const Json& scrub) {
  const uint64_t found = number_of(scrub, "found"), failed = number_of(scrub, "failed");
  return (found == 0 ? "nothing found" : "found bad: " + format_size(found)) +
         (failed == 0 ? "" : fmt::format("; {} steps failed: scrub again", failed));
}

int start(Session& session, const Json& parameters) {
  const auto reply = session.call("StartScrub", parameters);
  if (!reply) return session.fail(reply.error());
  const Json& scrubs = list_of(*reply, "scrubs");
  if (session.json) {
    print_bus(session, scrubs);
    return kDone;
  }
  for (const Json& scrub : scrubs) session.out() << where(scrub) << ": begun\n";
  return kDone;
}

// Prints a line for each further tenth of a region.
void tell_progress(std::ostream& err, const Json& reply, std::map<std::string, uint64_t>& told) {
  for (const Json& scrub : list_of(reply, "scrubs")) {
    const uint64_t length = number_of(scrub, "length");
    if (!flag_of(scrub, "running") || length == 0) continue;
    // In two steps, because the product may be too large.
    const uint64_t percent = length < 100 ? 0 : number_of(scrub, "done") / (length / 100);
    uint64_t& last = told[text_of(scrub, "region")];
    if (percent / 10 <= last / 10) continue;
    last = percent;
    err << fmt::format("{}: {} %, {}\n", where(scrub), std::min<uint64_t>(percent, 100),
                       outcome(scrub));
  }
}

int wait(Session& session, const Json& parameters) {
  auto client = session.connect();
  if (!client) return session.fail(client.error());
  std::map<std::string, uint64_t> told;
  auto reply = client->call({"org.pmemd.WaitScrub", parameters, /*more=*/true});
  for (; reply && client->continues(); reply = client->next_reply()) {
    tell_progress(session.err(), *reply, told);
  }
  if (!reply) return session.fail(reply.error());
  const Json& scrubs = list_of(*reply, "scrubs");
  if (session.json) {
    print_bus(session, scrubs);
    return kDone;
  }
  for (const Json& scrub : scrubs) session.out() << where(scrub) << ": " << outcome(scrub) << '\n';
  if (scrubs.empty()) session.out() << "no scrub has run\n";
  return kDone;
}

}  // namespace

void add_scrub_verbs(const Verbs& verbs) {
  Session& session = verbs.session;
  auto parameters = no_parameters();
  CLI::App* verb = verbs.add(
      "start-scrub", "Start a search for media errors that are not known yet",
      "pmemctl start-scrub\n  pmemctl start-scrub namespace0.0 --offset 1M --length 4M --rate 1M",
      [=, &session] { return start(session, *parameters); });
  add_object(verb, parameters)
      ->description("A region, or a namespace's data (default: all regions)");
  add_range(verb, parameters);
  add_size(verb, "--rate", parameters, "rate", "Bytes per second (default: no limit)");
  verb->parse_complete_callback([=] { check_usage("StartScrub", *parameters); });

  parameters = no_parameters();
  verb =
      verbs.add("wait-scrub", "Wait until no scrub is running; show the progress",
                "pmemctl wait-scrub region0", [=, &session] { return wait(session, *parameters); });
  add_object(verb, parameters)
      ->description("This region, or the namespace's (default: all regions)");
}

}  // namespace pmemd::cli
