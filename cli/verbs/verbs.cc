#include "cli/verbs/verbs.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <string>

#include "cli/input/number.h"
#include "cli/output/fields.h"
#include "cli/output/json_output.h"
#include "cli/output/render.h"
#include "cli/verbs/check_pool.h"
#include "cli/verbs/configure.h"
#include "cli/verbs/debug.h"
#include "cli/verbs/explain.h"
#include "cli/verbs/inject.h"
#include "cli/verbs/list.h"
#include "cli/verbs/monitor.h"
#include "cli/verbs/prefault.h"
#include "cli/verbs/refs.h"
#include "cli/verbs/scrub.h"

namespace pmemd::cli {

namespace {

void add_removal_options(CLI::App* verb, const Parameters& parameters) {
  add_flag(verb, "-f,--force", parameters, "force", "Take it away from its users");
  add_flag(verb, "--surprise", parameters, "surprise",
           "Don't flush first: stores that were not synced are lost, as with hardware");
  add_flag(verb, "--dry-run", parameters, "dry_run", "Show who would lose it; change nothing");
  add_time(verb, "--wait", parameters, "wait_ms",
           "Wait at most this long until nobody uses it; not with --force");
  add_time(verb, "--grace", parameters, "grace_ms", "Give users this long to let go by themselves");
  add_flag(verb, "--kill", parameters, "kill", "Kill the users that remain (SIGKILL)");
  add_time(verb, "--drain-timeout", parameters, "drain_timeout_ms",
           "Wait at most this long for pins, and for requests in flight");
  add_flag(verb, "--abandon", parameters, "abandon",
           "After --drain-timeout, give up the pins and leaked references that are left");
}

// ---- What verbs do

void render_reports(std::ostream& out, const Json& reports) {
  for (const Json& report : reports) {
    if (&report != &reports[0]) out << '\n';
    render_report(out, report);
  }
  if (reports.empty()) out << "nothing was enabled\n";
}

int status(Session& session) {
  return call_and_show_all(session, "Status", Json::object(), render_status);
}

int mappers(Session& session, const Json& parameters) {
  return call_and_show(session, "Mappers", parameters, "holders",
                       [](std::ostream& out, const Json& holders) {
                         if (holders.empty()) out << "nobody maps or holds open anything\n";
                         render_holders(out, holders);
                       });
}

int check(Session& session, const std::string& pool) {
  if (!pool.empty()) return check_pool(session, pool);
  const auto reply = session.call("Check", Json::object());
  if (!reply) return session.fail(reply.error());
  if (session.json) {
    session.out() << pretty(*reply) << '\n';
  } else {
    render_findings(session.out(), list_of(*reply, "findings"));
  }
  return list_of(*reply, "findings").empty() ? kDone : kFailed;
}

// ---- The verbs

void add_telling_verbs(const Verbs& verbs) {
  Session& session = verbs.session;
  verbs.add("status", "Show what the daemon serves, and its counters", "pmemctl status --json",
            [&session] { return status(session); });

  auto parameters = no_parameters();
  CLI::App* verb = verbs.add(
      "mappers", "Show which processes have files of a namespace mapped or open",
      "pmemctl mappers namespace0.0", [=, &session] { return mappers(session, *parameters); });
  add_name(verb, "namespace", parameters, "namespace", "Only of this namespace");

  add_monitor_verb(verbs);

  auto pool = std::make_shared<std::string>();
  verb = verbs.add("check", "Check the pool for damage; exit with 1 if there is any",
                   "pmemctl check\n  pmemctl check --pool /var/lib/pmemd/default",
                   [=, &session] { return check(session, *pool); });
  verb->add_option("--pool", *pool, "Check this pool, which no daemon serves")->type_name("DIR");
}

void add_creating_verbs(const Verbs& verbs) {
  Session& session = verbs.session;
  auto parameters = no_parameters();
  CLI::App* verb = verbs.add("create-region", "Add a region of emulated memory to the pool",
                             "pmemctl create-region --size 1G", [=, &session] {
                               return call_and_show(session, "CreateRegion", *parameters, "region",
                                                    render_regions);
                             });
  add_size(verb, "-s,--size", parameters, "size", "Its size, a multiple of 2 MiB")->required();
  add_flag(verb, "--sparse", parameters, "sparse", "Don't reserve disk space for it");
  add_parsed(verb, "--base", parameters, "base",
             "Its emulated physical address, a multiple of 2 MiB (0x180000000, or 6G)",
             parse_address)
      ->type_name("ADDR");

  parameters = no_parameters();
  verb = verbs.add("destroy-region", "Delete a region, its image and everything in it",
                   "pmemctl destroy-region region1 --force", [=, &session] {
                     return call_and_tell(session, "DestroyRegion", *parameters, "destroyed",
                                          "region");
                   });
  add_name(verb, "region", parameters, "region", "Which one")->required();
  add_flag(verb, "-f,--force", parameters, "force",
           "Even if it has namespaces: take them away from their users, and delete them");

  parameters = no_parameters();
  verb = verbs.add("create-namespace", "Create a namespace in a region, and enable it",
                   "pmemctl create-namespace --mode devdax --size 64M", [=, &session] {
                     return call_and_show(session, "CreateNamespace", *parameters, "namespace",
                                          render_namespaces);
                   });
  add_choice(verb, "-m,--mode", parameters, "mode", "What it is; fsdax is a file system",
             {"fsdax", "devdax", "private", "p2p"});
  add_size(verb, "-s,--size", parameters, "size",
           "Its size, including 2 MiB of metadata (default: the largest free extent)");
  add_name(verb, "-r,--region", parameters, "region",
           "Create it in this region (default: any with room)");
  add_size(verb, "-a,--align", parameters, "align", "Its alignment, a multiple of 2 MiB");

  parameters = no_parameters();
  verb = verbs.add("destroy-namespace", "Delete a namespace and everything in it",
                   "pmemctl destroy-namespace namespace0.1 --force", [=, &session] {
                     return call_and_tell(session, "DestroyNamespace", *parameters, "destroyed",
                                          "namespace");
                   });
  add_name(verb, "namespace", parameters, "namespace", "Which one")->required();
  add_flag(verb, "-f,--force", parameters, "force",
           "Also if it is enabled: it is taken away from its users first");
}

void add_volume_verbs(const Verbs& verbs) {
  Session& session = verbs.session;
  auto parameters = no_parameters();
  CLI::App* verb = verbs.add(
      "create-volume", "Combine empty namespaces or volumes into one device, and enable it",
      "pmemctl create-volume --type striped namespace0.0 namespace1.0", [=, &session] {
        return call_and_show(session, "CreateVolume", *parameters, "volume", render_volumes);
      });
  add_choice(verb, "-t,--type", parameters, "type", "Legs end to end, or chunks in turn",
             {"linear", "striped"});
  add_size(verb, "-c,--chunk", parameters, "chunk",
           "Chunk of a striped volume: a power of two, at least 4 KiB (default: 2M)");
  add_names(verb, "legs", parameters, "namespace", "legs", "Its legs, in order")->required();

  parameters = no_parameters();
  verb = verbs.add("destroy-volume", "Delete a volume and everything in it; its legs become empty",
                   "pmemctl destroy-volume volume0 --force", [=, &session] {
                     return call_and_tell(session, "DestroyVolume", *parameters, "destroyed",
                                          "volume");
                   });
  add_name(verb, "volume", parameters, "volume", "Which one")->required();
  add_flag(verb, "-f,--force", parameters, "force",
           "Also if it is enabled: it is taken away from its users first");
}

// enable- and disable-<kind>, for "namespace" and "region".
void add_enabling_verbs(const Verbs& verbs, const std::string& kind, const std::string& method_end,
                        const std::string& example, const char* reply_key) {
  Session& session = verbs.session;
  auto parameters = no_parameters();
  CLI::App* verb = verbs.add(
      "enable-" + kind, fmt::format("Enable a {}; earlier mappings work again", kind),
      fmt::format("pmemctl enable-{} {}", kind, example), [=, &session] {
        return call_and_tell(session, "Enable" + method_end, *parameters, "enabled", kind.c_str());
      });
  add_name(verb, kind, parameters, kind, "Which one")->required();

  parameters = no_parameters();
  verb = verbs.add("disable-" + kind,
                   fmt::format("Disable a {}; with --force, take it away from its users", kind),
                   fmt::format("pmemctl disable-{0} {1} --force --grace=5s\n"
                               "  pmemctl disable-{0} {1} --dry-run",
                               kind, example),
                   [=, &session] {
                     return call_and_show(session, "Disable" + method_end, *parameters, reply_key,
                                          render_reports);
                   });
  add_name(verb, kind, parameters, kind, "Which one")->required();
  add_removal_options(verb, parameters);
  verb->parse_complete_callback([=] { check_usage("Disable" + method_end, *parameters); });
}

}  // namespace

void add_verbs(CLI::App& app, Session& session, Action& action) {
  const Verbs verbs{app, session, action};
  add_list_verbs(verbs);
  add_telling_verbs(verbs);
  add_creating_verbs(verbs);
  add_volume_verbs(verbs);
  add_enabling_verbs(verbs, "namespace", "Namespace", "namespace0.0", "report");
  add_enabling_verbs(verbs, "region", "Region", "region0", "reports");
  add_refs_verb(verbs);
  add_explain_verb(verbs);
  add_inject_verbs(verbs);
  add_scrub_verbs(verbs);
  add_prefault_verb(verbs);
  add_configure_verb(verbs);
  add_debug_verbs(verbs);
}

}  // namespace pmemd::cli
