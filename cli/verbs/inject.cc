#include "cli/verbs/inject.h"

#include <fmt/format.h>

#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "cli/input/number.h"
#include "cli/output/fields.h"
#include "cli/output/json_output.h"
#include "cli/output/render.h"
#include "cli/output/table.h"
#include "cli/session/file_names.h"
#include "core/base/units.h"

namespace pmemd::cli {
namespace {

using Align = Table::Align;

// The part of the command line that isn't a parameter of the calls.
struct Target {
  std::vector<std::string> files = {};  // as cli/session/file_names.h has them
  bool uninject = false;
  bool status = false;
};

// Calls `method` once for each named object and returns the replies.
std::expected<std::vector<Json>, VarlinkError> call_for_each(Session& session,
                                                             const std::string& method,
                                                             Json parameters,
                                                             const Target& target) {
  std::vector<Json> replies;
  if (target.files.empty()) {
    auto reply = session.call(method, parameters);
    if (!reply) return std::unexpected(std::move(reply).error());
    replies.push_back(*std::move(reply));
    return replies;
  }
  // A range of a file is taken literally.
  if (method == "InjectError") parameters["saturate"] = true;
  for (const std::string& pattern : target.files) {
    const auto files = files_named(session, pattern);
    if (!files) return std::unexpected(files.error());
    for (const std::string& file : *files) {
      parameters["file"] = file;
      auto reply = session.call(method, parameters);
      if (!reply) return std::unexpected(std::move(reply).error());
      replies.push_back(*std::move(reply));
    }
  }
  return replies;
}

std::string range(const Json& object) {
  const uint64_t begin = number_of(object, "offset");
  return fmt::format("{:#x}-{:#x}", begin, begin + number_of(object, "length"));
}

void render_failures(std::ostream& out, const Json& failures, bool dry_run) {
  uint64_t bytes = 0, ranges = 0;
  Table files({{"NAMESPACE"},
               {"FILE", Align::kLeft, Table::Elastic::kBegin},
               {"RANGE"},
               {"TOLD", Align::kRight}});
  for (const Json& failure : failures) {
    bytes += number_of(failure, "bad_bytes");
    ranges += list_of(failure, "ranges").size();
    for (const Json& file : list_of(failure, "files")) {
      files.add({text_of(file, "namespace"),
                 flag_of(file, "metadata") ? "(metadata)" : text_of(file, "file"), range(file),
                 flag_of(file, "handled") ? "taken over" : text_of(file, "told")});
    }
  }
  out << fmt::format("{}{} in {}\n", dry_run ? "would be bad: " : "bad: ", format_size(bytes),
                     format_count(ranges, "range"));
  if (!files.empty()) files.print(out);
  for (const Json& failure : failures) {
    if (flag_of(failure, "shut_down")) {
      out << text_of(failure, "namespace") << ": its file system is shut down\n";
    }
    if (!list_of(failure, "holders").empty()) render_holders(out, list_of(failure, "holders"));
  }
}

void render_armed(std::ostream& out, const Json& armed) {
  for (const Json& error : armed) {
    for (const Json& part : list_of(error, "ranges")) {
      out << "armed: " << range(part);
      if (error.contains("after_ms")) {
        out << fmt::format(" in {} ms\n", number_of(error, "after_ms"));
      } else {
        const std::string on = text_of(error, "on");
        out << fmt::format(", {} to go\n",
                           format_count(number_of(error, "nth"), on == "any" ? "request" : on));
      }
    }
  }
}

int inject(Session& session, const Json& parameters, const Target& target) {
  const auto replies = call_for_each(session, "InjectError", parameters, target);
  if (!replies) return session.fail(replies.error());
  if (parameters.contains("nth") || parameters.contains("on") || parameters.contains("after_ms")) {
    Json armed = Json::array();
    for (const Json& reply : *replies) {
      for (const Json& error : list_of(reply, "armed")) armed.push_back(error);
    }
    if (session.json) {
      print_objects(session.out(), armed);
    } else {
      render_armed(session.out(), armed);
    }
    return kDone;
  }
  Json failures = Json::array();
  for (const Json& reply : *replies) {
    for (const Json& failure : list_of(reply, "reports")) failures.push_back(failure);
  }
  if (parameters.contains("random")) {
    session.err() << "seed " << number_of(parameters, "seed") << '\n';
  }
  if (session.json) {
    print_objects(session.out(), failures);
  } else {
    render_failures(session.out(), failures, flag_of(parameters, "dry_run"));
  }
  return kDone;
}

int uninject(Session& session, const Json& parameters, const Target& target) {
  const auto replies = call_for_each(session, "UninjectError", parameters, target);
  return replies ? kDone : session.fail(replies.error());
}

// As `ndctl inject-error --status` prints it.
int status(Session& session, const Json& parameters) {
  const auto reply = session.call("InjectedErrors", parameters);
  if (!reply) return session.fail(reply.error());
  if (session.json) {
    session.out() << pretty(*reply) << '\n';
    return kDone;
  }
  Table table({{"BLOCK", Align::kRight}, {"COUNT", Align::kRight}});
  for (const Json& blocks : list_of(*reply, "badblocks")) {
    table.add({text_of(blocks, "block"), text_of(blocks, "count")});
  }
  table.print(session.out());
  render_armed(session.out(), list_of(*reply, "armed"));
  if (const uint64_t omitted = number_of(*reply, "omitted")) {
    session.err() << fmt::format("pmemctl: {} lines more\n", omitted);
  }
  return kDone;
}

int clear(Session& session, const Json& parameters, const Target& target) {
  const auto replies = call_for_each(session, "ClearErrors", parameters, target);
  if (!replies) return session.fail(replies.error());
  Json shown = Json::array();
  for (const Json& reply : *replies) {
    shown.push_back(reply);
    if (session.json) continue;
    session.out() << fmt::format("{}: {} cleared\n", text_of(reply, "namespace"),
                                 format_size(number_of(reply, "cleared_bytes")));
  }
  if (session.json) print_objects(session.out(), shown);
  return kDone;
}

struct TargetOptions {
  CLI::Option* file;
  RangeOptions range;
};

TargetOptions add_target(CLI::App* verb, const Parameters& parameters, Target& target) {
  add_name(verb, "namespace", parameters, "namespace", "In this namespace");
  auto* file =
      verb->add_option("--file", target.files, "In these files of the mount; * and ? are wildcards")
          ->type_name("PATH");
  const RangeOptions range = add_range(verb, parameters);
  range.block->excludes(file);
  return {.file = file, .range = range};
}

// Runs once everything is parsed; `method` will be called.
void complete_target(std::string_view method, const TargetOptions& options,
                     const Parameters& parameters) {
  Json with_file = *parameters;
  if (!options.file->empty()) with_file["file"] = "";
  check_usage(method, with_file);
  const RangeOptions& range = options.range;
  if (!range.block->empty() && range.count->empty()) (*parameters)["length"] = kBlockBytes;
}

}  // namespace

void add_inject_verbs(const Verbs& verbs) {
  Session& session = verbs.session;
  auto parameters = no_parameters();
  auto target = std::make_shared<Target>();
  CLI::App* verb =
      verbs.add("inject-error", "Make memory bad: touching it raises SIGBUS, read(2) is EIO",
                "pmemctl inject-error namespace0.0 --block 12 --count 2\n"
                "  pmemctl inject-error --file '/mnt/pmem0/db/*' --offset 4K --length 12K\n"
                "  pmemctl inject-error namespace0.0 --status",
                [=, &session] {
                  if (target->status)
                    return status(session, {{"namespace", (*parameters)["namespace"]}});
                  if (target->uninject) return uninject(session, *parameters, *target);
                  return inject(session, *parameters, *target);
                });
  const TargetOptions options = add_target(verb, parameters, *target);
  add_flag(verb, "-N,--no-notify", parameters, "latent",
           "Tell nobody until somebody touches it or a scrub finds it");
  auto* uninject = verb->add_flag("-d,--uninject", target->uninject,
                                  "Remove the error; what is known to be bad stays so");
  auto* status = verb->add_flag("-t,--status", target->status, "Show the injected errors");
  add_flag(verb, "-S,--saturate", parameters, "saturate",
           "Make all of each block bad, not only its first clear unit");
  auto* random = add_parsed(verb, "--random", parameters, "random",
                            "Only N single pages of it, picked at random", parse_count)
                     ->type_name("N");
  add_parsed(verb, "--seed", parameters, "seed", "Seed of --random (default: 0)", parse_number)
      ->type_name("SEED");
  auto* dry_run =
      add_flag(verb, "--dry-run", parameters, "dry_run", "Show who would be hit; change nothing");
  auto* nth = add_parsed(verb, "--nth", parameters, "nth",
                         "Arm it for the N-th request that touches it", parse_count)
                  ->type_name("N");
  auto* on = add_choice(verb, "--on", parameters, "on", "Count only these requests",
                        {"any", "read", "write", "writeback"});
  auto* after =
      add_time(verb, "--after", parameters, "after_ms", "Arm it to go off after this time");
  uninject->excludes(nth, on, after);
  status->excludes(nth, on, after);
  uninject->excludes(status, random, dry_run);
  status->excludes(random, dry_run);
  for (CLI::Option* option : {options.file, options.range.offset, options.range.length,
                              options.range.block, options.range.count}) {
    status->excludes(option);
  }
  verb->parse_complete_callback([=] {
    const bool injects = status->empty() && uninject->empty();
    complete_target(injects ? "InjectError" : "UninjectError", options, parameters);
    const bool has_range = parameters->contains("offset") || parameters->contains("length") ||
                           parameters->contains("random");
    if (options.file->empty() && status->empty() && !has_range) {
      throw CLI::ValidationError("which part of it? --block, or --offset and --length");
    }
  });

  parameters = no_parameters();
  target = std::make_shared<Target>();
  verb = verbs.add("clear-errors", "Clear known media errors; cleared bytes read as zeros",
                   "pmemctl clear-errors namespace0.0\n"
                   "  pmemctl clear-errors --file /mnt/pmem0/a",
                   [=, &session] { return clear(session, *parameters, *target); });
  const TargetOptions cleared = add_target(verb, parameters, *target);
  verb->parse_complete_callback([=] { complete_target("ClearErrors", cleared, parameters); });
}

}  // namespace pmemd::cli
