#include "cli/verbs/explain.h"

#include <fmt/format.h>

#include "cli/input/number.h"
#include "cli/output/fields.h"

namespace pmemd::cli {
namespace {

void render_place(std::ostream& out, const Json& reply) {
  const std::string region = text_of(reply, "region");
  const std::string space = text_of(reply, "namespace");
  if (region.empty()) return;
  if (space.empty()) {
    out << fmt::format("  {}, no namespace\n", region);
    return;
  }
  out << fmt::format("  {}, {} ({}): {}\n", region, space, text_of(reply, "state"),
                     text_of(reply, "area") == "metadata"
                         ? "metadata"
                         : fmt::format("data, offset {:#x}", number_of(reply, "offset")));
}

void render_explanation(std::ostream& out, const Json& reply) {
  out << fmt::format("pfn {:#x}: {}\n", number_of(reply, "pfn"), text_of(reply, "verdict"));
  out << fmt::format("  address {:#x}, section {}, subsection {}\n", number_of(reply, "address"),
                     number_of(reply, "section"), number_of(reply, "subsection"));
  render_place(out, reply);
  if (reply.contains("pagemap")) {
    const Json& pagemap = reply["pagemap"];
    out << fmt::format("  pagemap {}: {}, {}; references: {}\n", text_of(pagemap, "name"),
                       text_of(pagemap, "type"), text_of(pagemap, "state"),
                       number_of(pagemap, "references"));
  }
  std::string function;
  for (const Json& step : list_of(reply, "steps")) {
    if (text_of(step, "function") != function) {
      function = text_of(step, "function");
      out << function << '\n';
    }
    out << fmt::format("  {:<40}  {:<3}  {}\n", text_of(step, "asked"),
                       flag_of(step, "yes") ? "yes" : "no", text_of(step, "found"));
  }
}

}  // namespace

void add_explain_verb(const Verbs& verbs) {
  Session& session = verbs.session;
  const auto parameters = no_parameters();
  CLI::App* verb = verbs.add(
      "explain", "Show what a page of the emulated machine is, and which check decided that",
      "pmemctl explain 0x100200\n  pmemctl explain --address 4G", [=, &session] {
        return call_and_show_all(session, "Explain", *parameters, render_explanation);
      });
  add_parsed(verb, "pfn", parameters, "pfn",
             "Its page frame number (decimal, or hexadecimal with 0x)", parse_number)
      ->type_name("PFN");
  add_parsed(verb, "--address", parameters, "address",
             "An address in it, instead (0x100000000, or 4G)", parse_address)
      ->type_name("ADDR");
  verb->parse_complete_callback([=] { check_usage("Explain", *parameters); });
}

}  // namespace pmemd::cli
