#include "cli/session/session.h"

#include <fmt/format.h>

#include "cli/output/fields.h"
#include "cli/output/json_output.h"
#include "cli/output/render.h"
#include "cli/output/table.h"
#include "cli/session/daemons.h"
#include "core/control/interface.h"

namespace pmemd::cli {

namespace {

std::string describe(const VarlinkError& error) {
  if (error.name == "org.pmemd.Failed") {
    const std::string hint = text_of(error.parameters, "hint");
    return text_of(error.parameters, "message") + (hint.empty() ? "" : " (" + hint + ")");
  }
  if (error.name == "org.varlink.service.PermissionDenied") {
    return "permission denied (only root, the daemon's own user and the members of its socket's "
           "group may change things)";
  }
  return fmt::format("the daemon answered {} {} (is it of another version?)", printable(error.name),
                     printable(one_line(error.parameters)));
}

}  // namespace

std::expected<Client, VarlinkError> Session::connect() {
  if (socket.empty() && !instance.empty()) socket = socket_of_instance(instance);
  if (socket.empty()) {
    auto found = find_daemon(socket_directories(), file_, stop_fd());
    if (!found) return std::unexpected(found.error());
    socket = *std::move(found);
  }
  return Client::connect(socket, stop_fd());
}

std::expected<Json, VarlinkError> Session::call(const std::string& method, Json parameters) {
  auto client = connect();
  if (!client) return std::unexpected(client.error());
  return client->call({std::string(kInterface) + "." + method, std::move(parameters)});
}

int Session::fail(const VarlinkError& error) {
  if (json) {
    err() << one_line({{"error", error.name}, {"parameters", error.parameters}}) << '\n';
    return kFailed;
  }
  err() << "pmemctl: " << describe(error) << '\n';
  render_holders(err(), list_of(error.parameters, "holders"));
  render_references(err(), list_of(error.parameters, "in_the_way"));
  return kFailed;
}

}  // namespace pmemd::cli
