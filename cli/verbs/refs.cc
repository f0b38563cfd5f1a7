#include "cli/verbs/refs.h"

#include <fmt/format.h>

#include "cli/output/fields.h"
#include "cli/output/render.h"
#include "cli/output/table.h"
#include "cli/session/file_names.h"
#include "core/base/units.h"

namespace pmemd::cli {
namespace {

void render_refs(std::ostream& out, const Json& reply) {
  const auto count = [&](std::string_view key, std::string_view one) {
    return format_count(number_of(reply, key), one);
  };
  out << fmt::format("{}: {}; {}, {}, {}\n", text_of(reply, "namespace"), text_of(reply, "state"),
                     count("handles", "handle"), count("mappings", "mapping"),
                     count("requests", "request"));
  out << fmt::format("  its pagemap: {} held ({}, {})\n", count("held", "reference"),
                     count("leases", "lease"), count("pins", "pin"));
  if (number_of(reply, "takeovers") != 0) {
    out << fmt::format("  {}: asked first when a range of theirs is poisoned\n",
                       count("takeovers", "takeover"));
  }
  if (number_of(reply, "buffers") + number_of(reply, "pages") != 0) {
    out << fmt::format("  {} taken from the pool, {} on the device\n", count("buffers", "buffer"),
                       count("pages", "private page"));
  }
  if (number_of(reply, "volumes") != 0) out << "  one of them the volume's above it\n";
  if (number_of(reply, "unaccounted") != 0) {
    out << fmt::format("  leaked: {}, of nothing that is listed\n",
                       count("unaccounted", "reference"));
  }
  if (number_of(reply, "abandoned") != 0) {
    out << fmt::format("  given up by --abandon: {}\n", count("abandoned", "reference"));
  }
  render_references(out, list_of(reply, "references"));
  if (const uint64_t more = number_of(reply, "omitted")) out << fmt::format("and {} more\n", more);
}

int refs(Session& session, Json parameters) {
  if (parameters.contains("file")) {
    const std::string text = parameters["file"];
    const auto files = files_named(session, text);
    if (!files) return session.fail(files.error());
    if (files->size() > 1) {
      return session.fail(
          failed(Error{{EINVAL, std::generic_category()},
                       fmt::format("{}: means {}", text, format_count(files->size(), "file")),
                       "name one"}));
    }
    parameters["file"] = files->front();
  }
  return call_and_show_all(session, "Refs", parameters, render_refs);
}

}  // namespace

void add_refs_verb(const Verbs& verbs) {
  Session& session = verbs.session;
  const auto parameters = no_parameters();
  CLI::App* verb =
      verbs.add("refs", "Show who uses a namespace: leases, open files, mappings, pins, requests",
                "pmemctl refs namespace0.0\n"
                "  pmemctl refs --file /mnt/pmem0/dir/a --offset 0 --length 4K",
                [=, &session] { return refs(session, *parameters); });
  add_name(verb, "namespace", parameters, "namespace", "In this namespace");
  add_text(verb, "--file", parameters, "file", "Only of this file")->type_name("PATH");
  add_offset(verb, "--offset", parameters, "offset", "Only in the range that begins here");
  add_size(verb, "--length", parameters, "length", "Length of that range");
  verb->parse_complete_callback([=] { check_usage("Refs", *parameters); });
}

}  // namespace pmemd::cli
