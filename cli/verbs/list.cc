#include "cli/verbs/list.h"

#include <fmt/format.h>

#include <memory>

#include "cli/output/fields.h"
#include "cli/output/json_output.h"
#include "cli/output/render.h"
#include "cli/output/table.h"

namespace pmemd::cli {
namespace {

using Align = Table::Align;

struct ListOptions {
  bool buses = false;
  bool human = false;
};

// Moves each namespace into its region, as ndctl nests them.
Json nested(Json regions, const Json& namespaces) {
  for (Json& region : regions) {
    for (Json space : namespaces) {
      if (!region.is_object() || !space.is_object()) continue;
      if (text_of(space, "region") != text_of(region, "dev")) continue;
      space.erase("region");
      region["namespaces"].push_back(std::move(space));
    }
  }
  return regions;
}

// The only bus, with the listed objects in it.
Json bus_of(Json objects, const char* key) {
  Json bus = {{"provider", "pmemd"}, {"dev", "ndbus0"}};
  if (!objects.empty()) bus[key] = std::move(objects);
  return Json::array({std::move(bus)});
}

void render_bad_blocks(std::ostream& out, const Json& regions, const Json& namespaces) {
  Table table({{"OBJECT"}, {"OFFSET", Align::kRight}, {"BLOCKS", Align::kRight}, {"DIMMS"}});
  for (const Json* const objects : {&regions, &namespaces}) {
    for (const Json& object : *objects) {
      for (const Json& blocks : list_of(object, "badblocks")) {
        std::string dimms;
        for (const Json& dimm : list_of(blocks, "dimms")) {
          dimms += (dimms.empty() ? "" : ",") + (dimm.is_string() ? dimm.get<std::string>() : "");
        }
        table.add({text_of(object, "dev"), text_of(blocks, "offset"), text_of(blocks, "length"),
                   printable(dimms)});
      }
    }
  }
  out << '\n';
  if (table.empty()) {
    out << "nothing is known to be bad\n";
  } else {
    table.print(out);
  }
}

int list(Session& session, Json parameters, const ListOptions& options) {
  if (!parameters.contains("regions") && !parameters.contains("volumes") && !options.buses) {
    parameters["namespaces"] = true;
  }
  const bool regions = parameters.contains("regions");
  const bool namespaces = parameters.contains("namespaces");
  const bool volumes = parameters.contains("volumes");
  const auto reply = session.call("List", parameters);
  if (!reply) return session.fail(reply.error());
  static const Json none = Json::array();
  const Json& all_regions = regions ? list_of(*reply, "regions") : none;
  const Json& all_namespaces = namespaces ? list_of(*reply, "namespaces") : none;
  if (session.json) {
    Json objects = regions ? nested(all_regions, all_namespaces) : all_namespaces;
    for (const Json& volume : list_of(*reply, "volumes")) objects.push_back(volume);
    if (options.buses) objects = bus_of(std::move(objects), regions ? "regions" : "namespaces");
    if (options.human) humanize(objects);
    print_objects(session.out(), objects);
    return kDone;
  }
  if (options.buses) session.out() << "bus ndbus0 of provider pmemd\n";
  if (options.buses && (regions || namespaces)) session.out() << '\n';
  if (regions) render_regions(session.out(), all_regions);
  if (regions && namespaces) session.out() << '\n';
  if (namespaces) render_namespaces(session.out(), all_namespaces);
  if (volumes && (regions || namespaces || options.buses)) session.out() << '\n';
  if (volumes) render_volumes(session.out(), list_of(*reply, "volumes"));
  if (parameters.contains("media_errors")) {
    render_bad_blocks(session.out(), all_regions, all_namespaces);
  }
  return kDone;
}

// As the file `badblocks` in sysfs.
int bad_blocks(Session& session, const Json& parameters) {
  const auto reply = session.call("BadBlocks", parameters);
  if (!reply) return session.fail(reply.error());
  if (session.json) {
    session.out() << pretty(*reply) << '\n';
    return kDone;
  }
  for (const Json& line : list_of(*reply, "badblocks")) {
    session.out() << number_of(line, "sector") << ' ' << number_of(line, "count") << '\n';
  }
  if (const uint64_t omitted = number_of(*reply, "omitted")) {
    session.err() << fmt::format("pmemctl: {} lines more\n", omitted);
  }
  return kDone;
}

}  // namespace

void add_list_verbs(const Verbs& verbs) {
  Session& session = verbs.session;
  auto parameters = no_parameters();
  const auto options = std::make_shared<ListOptions>();
  CLI::App* verb = verbs.add("list", "List regions, namespaces and volumes (default: namespaces)",
                             "pmemctl list -RN --idle\n  pmemctl --json list -RNBXM",
                             [=, &session] { return list(session, *parameters, *options); });
  add_flag(verb, "-R,--regions", parameters, "regions", "List regions");
  add_flag(verb, "-N,--namespaces", parameters, "namespaces", "List namespaces");
  add_flag(verb, "-V,--volumes", parameters, "volumes", "List volumes");
  verb->add_flag("-B,--buses", options->buses, "List the bus, with the others in it");
  add_flag(verb, "-X,--device-dax", parameters, "device_dax",
           "With --json: show devdax namespaces as regions of device-dax");
  add_flag(verb, "-M,--media-errors", parameters, "media_errors",
           "Show which blocks of 512 bytes are known to be bad");
  add_flag(verb, "-i,--idle", parameters, "idle", "Include disabled ones");
  verb->add_flag("-u,--human", options->human, "With --json: print sizes with units");

  parameters = no_parameters();
  verb =
      verbs.add("badblocks", "Print known bad blocks as sysfs does: a sector and a count per line",
                "pmemctl badblocks region0\n  pmemctl badblocks namespace0.0",
                [=, &session] { return bad_blocks(session, *parameters); });
  add_object(verb, parameters)->required();
}

}  // namespace pmemd::cli
