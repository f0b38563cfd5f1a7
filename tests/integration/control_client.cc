#include "tests/integration/control_client.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>

namespace pmemd {

ControlClient::ControlClient(const std::string& socket)
    : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  socket.copy(address.sun_path, sizeof(address.sun_path) - 1);
  if (connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    throw_errno(socket);
  }
}

ControlClient::Answer ControlClient::call(const std::string& method, const Json& parameters) {
  std::string message = Json{{"method", "org.pmemd." + method}, {"parameters", parameters}}.dump();
  message.push_back('\0');
  if (write(fd_.get(), message.data(), message.size()) != static_cast<ssize_t>(message.size())) {
    throw_errno(method);
  }
  std::string reply;
  std::array<char, 65536> buffer{};
  while (reply.empty() || reply.back() != '\0') {
    if (!wait_readable(fd_.get(), std::chrono::steady_clock::now() + kPatience)) {
      throw std::runtime_error(method + ": no answer in time");
    }
    const ssize_t got = read(fd_.get(), buffer.data(), buffer.size());
    if (got <= 0) throw std::runtime_error(method + ": the daemon hung up");
    reply.append(buffer.data(), static_cast<size_t>(got));
  }
  reply.pop_back();
  const Json json = Json::parse(reply);
  return {json.value("parameters", Json::object()), json.value("error", "")};
}

void stall_at(ControlClient& control, const std::string& step) {
  const auto answer = control.call("FailAt", {{"step", step}, {"delay_ms", 600'000}});
  if (!answer.done()) throw std::runtime_error(step + ": " + answer.message());
}

void wait_until_stalled(ControlClient& control, const std::string& step) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (std::chrono::steady_clock::now() < deadline) {
    const Json faults = control.call("ListFaults").parameters.at("faults");
    for (const Json& fault : faults) {
      if (fault.at("step") == step && fault.at("left") == 0) return;
    }
  }
  throw std::runtime_error(step + ": not reached in time");
}

}  // namespace pmemd
