#include "cli/verbs/monitor.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "cli/input/number.h"
#include "cli/output/fields.h"
#include "cli/output/json_output.h"
#include "cli/output/render.h"
#include "cli/session/client.h"
#include "cli/session/file_names.h"

namespace pmemd::cli {

namespace {

void print(Session& session, const Json& reply) {
  if (const uint64_t missed = number_of(reply, "missed")) {
    session.out() << (session.json ? one_line({{"missed", missed}})
                                   : fmt::format("{} events missed", missed))
                  << '\n';
  }
  if (const auto event = reply.find("event"); event != reply.end() && event->is_object()) {
    session.out() << (session.json ? one_line(*event) : event_line(*event)) << '\n';
  }
  session.out().flush();
}

// Prints a line (with --json an object) for each event. Returns kDone when interrupted, when the
// stream ends, or when nobody reads our output; kFailed when the daemon ends.
int monitor(Session& session, Json parameters) {
  if (parameters.contains("file")) {
    const auto file = pattern_named(session, parameters["file"]);
    if (!file) return session.fail(file.error());
    parameters["file"] = *file;
  }
  const auto give_up = [&](const VarlinkError& error) {
    return number_of(error.parameters, "errno") == EINTR ? kDone : session.fail(error);
  };
  auto client = session.connect();
  if (!client) return give_up(client.error());
  auto reply = client->call({"org.pmemd.Monitor", parameters, /*more=*/true});
  for (; reply; reply = client->next_reply()) {
    print(session, *reply);
    if (!session.out() || !client->continues()) return kDone;
  }
  return give_up(reply.error());
}

// Joins repeated options as "a,b"; `full` expands each.
void add_list(CLI::App* verb, const std::string& flags, const Parameters& parameters,
              const std::string& key, const std::string& help, const std::string& type,
              std::string (*full)(const std::string& text)) {
  verb->add_option(
          flags,
          [=](CLI::results_t texts) {
            std::ranges::transform(texts, texts.begin(), full);
            (*parameters)[key] = fmt::format("{}", fmt::join(texts, ","));
            return true;
          },
          help)
      ->type_name(type)
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

}  // namespace

void add_monitor_verb(const Verbs& verbs) {
  Session& session = verbs.session;
  const auto parameters = no_parameters();
  CLI::App* verb = verbs.add("monitor", "Print events as they come, until interrupted",
                             "pmemctl monitor --kind poison --file '/pmem0/db/*'\n"
                             "  pmemctl --json monitor --since 0 --no-follow",
                             [=, &session] { return monitor(session, *parameters); });
  add_parsed(verb, "-s,--since", parameters, "since",
             "First print the kept events that came after event SEQ (0: all)", parse_number)
      ->type_name("SEQ");
  add_list(verb, "-n,--namespace", parameters, "namespaces",
           "Only events of this namespace; may be repeated", "NAME",
           [](const std::string& text) { return full_name("namespace", text); });
  add_list(verb, "-k,--kind", parameters, "kinds",
           "Only events of this kind (poison, cleared, scrub, shutdown, no-space, writeback-error, "
           "pre-remove, removed, enabled, created, destroyed); may be repeated",
           "KIND", [](const std::string& text) { return text; });
  add_text(verb, "--file", parameters, "file",
           "Only events of files at or below this path: /mnt/pmem0/db, /pmem0/db*, "
           "namespace0.0:/db")
      ->type_name("PATH");
  verb->add_flag_callback(
      "--no-follow", [parameters] { (*parameters)["follow"] = false; },
      "Exit after the kept events");
}

}  // namespace pmemd::cli
