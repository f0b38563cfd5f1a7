#include "cli/verbs/prefault.h"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "cli/output/fields.h"
#include "cli/output/json_output.h"
#include "cli/session/file_names.h"
#include "core/base/file_name.h"
#include "core/base/units.h"

namespace pmemd::cli {
namespace {

using Targets = std::vector<std::string>;

struct Total {
  uint64_t bytes = 0;
  uint64_t failed_bytes = 0;
  std::set<std::string> leased_files = {};
};

bool is_interrupted(const Session& session) {
  pollfd stop{.fd = session.stop_fd(), .events = POLLIN, .revents = 0};
  return session.stop_fd() >= 0 && poll(&stop, 1, 0) == 1;
}

// The daemon reads one piece per call, and nothing after the last call: when we end, it stops.
std::expected<Total, VarlinkError> prefault_object(Session& session, Json parameters,
                                                   const std::string& name) {
  Total total;
  uint64_t told_tenths = 0;
  while (!is_interrupted(session)) {
    const auto reply = session.call("Prefault", parameters);
    if (!reply) return std::unexpected(reply.error());
    const uint64_t length = number_of(*reply, "length"), left = number_of(*reply, "left");
    total.bytes += length;
    total.failed_bytes += number_of(*reply, "failed_bytes");
    for (const Json& file : reply->value("leased_files", Json::array())) {
      const bool is_new = total.leased_files.insert(file.get<std::string>()).second;
      if (!is_new) continue;
      session.err() << fmt::format("{}: skipped: it has a lease (fcntl F_SETLEASE); try again\n",
                                   file.get<std::string>());
    }
    if (left == 0) return total;
    const uint64_t tenths = total.bytes / std::max<uint64_t>((total.bytes + left) / 10, 1);
    if (tenths > std::exchange(told_tenths, tenths)) {
      session.err() << fmt::format("{}: {} %\n", name, std::min<uint64_t>(tenths, 9) * 10);
    }
    parameters["offset"] = number_of(*reply, "offset") + length;
    parameters["length"] = left;
  }
  return std::unexpected(VarlinkError{
      "org.pmemd.Failed",
      {{"errno", EINTR},
       {"errno_name", "EINTR"},
       {"message", fmt::format("{}: interrupted, {} are read", name, format_size(total.bytes))}}});
}

// The objects that `targets` mean: [parameter, value]. A text that can be an object's name is one,
// not a file.
std::expected<std::vector<std::pair<const char*, std::string>>, VarlinkError> objects_of(
    Session& session, const Targets& targets) {
  std::vector<std::pair<const char*, std::string>> objects;
  for (const std::string& target : targets) {
    if (std::string name = full_name("namespace", target); is_object_name(name)) {
      objects.emplace_back("namespace", std::move(name));
      continue;
    }
    auto files = files_named(session, target);
    if (!files) return std::unexpected(std::move(files).error());
    for (std::string& file : *files) objects.emplace_back("file", std::move(file));
  }
  return objects;
}

int prefault(Session& session, const Json& parameters, const Targets& targets) {
  const auto objects = objects_of(session, targets);
  if (!objects) return session.fail(objects.error());
  Json shown = Json::array();
  for (const auto& [key, name] : *objects) {
    Json one = parameters;
    one[key] = name;
    const auto total = prefault_object(session, std::move(one), name);
    if (!total) return session.fail(total.error());
    shown.push_back({{key, name}, {"bytes", total->bytes}, {"failed_bytes", total->failed_bytes}});
    if (!total->leased_files.empty()) shown.back()["leased_files"] = total->leased_files;
    if (session.json) continue;
    session.out() << fmt::format(
        "{}: {} read{}\n", name, format_size(total->bytes),
        total->failed_bytes == 0
            ? ""
            : fmt::format("; {} of it are bad and were not", format_size(total->failed_bytes)));
  }
  if (session.json) print_objects(session.out(), shown);
  return kDone;
}

}  // namespace

void add_prefault_verb(const Verbs& verbs) {
  Session& session = verbs.session;
  auto parameters = no_parameters();
  auto targets = std::make_shared<Targets>();
  CLI::App* verb = verbs.add("prefault", "Read memory into the page cache, before it is touched",
                             "pmemctl prefault namespace0.0\n  pmemctl prefault /mnt/pmem0/db "
                             "--offset 1G --length 256M",
                             [=, &session] { return prefault(session, *parameters, *targets); });
  verb->add_option("target", *targets,
                   "Namespaces or volumes by name, or files; * and ? are wildcards")
      ->type_name("NAME|PATH")
      ->required();
  add_offset(verb, "--offset", parameters, "offset", "Start at this byte");
  add_size(verb, "--length", parameters, "length", "Number of bytes");
  add_size(verb, "--keep-free", parameters, "keep_free",
           "Stop when the host has less available (default: a tenth of its memory)");
}

}  // namespace pmemd::cli
