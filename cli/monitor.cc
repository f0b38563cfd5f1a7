#include "cli/monitor.h"

#include <fmt/format.h>

#include "cli/client.h"
#include "cli/fields.h"
#include "cli/json_output.h"
#include "cli/render.h"

namespace pmemd::cli {

namespace {

void print(Session& session, const Json& reply) {
  if (const uint64_t missed = number_of(reply, "missed")) {
    session.out() << (session.json ? one_line({{"missed", missed}})
                                   : fmt::format("{} events missed: read faster", missed))
                  << '\n';
  }
  if (const auto event = reply.find("event"); event != reply.end() && event->is_object()) {
    session.out() << (session.json ? one_line(*event) : event_line(*event)) << '\n';
  }
  session.out().flush();
}

}  // namespace

int monitor(Session& session) {
  const auto give_up = [&](const VarlinkError& error) {
    return number_of(error.parameters, "errno") == EINTR ? kDone : session.fail(error);
  };
  auto client = Client::connect(session.socket, session.stop_fd());
  if (!client) return give_up(client.error());
  auto reply = client->call({"org.pmemd.Monitor", Json::object(), /*more=*/true});
  for (; reply; reply = client->next_reply()) {
    print(session, *reply);
    if (!session.out()) return kDone;  // nobody reads any more
  }
  return give_up(reply.error());
}

}  // namespace pmemd::cli
