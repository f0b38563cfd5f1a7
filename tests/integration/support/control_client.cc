#include "tests/integration/support/control_client.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>

namespace pmemd {

ControlStream::ControlStream(const std::string& socket)
    : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  socket.copy(address.sun_path, sizeof(address.sun_path) - 1);
  if (connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    throw_errno(socket);
  }
}

void ControlStream::send(const std::string& method, const Json& parameters, bool more) {
  Json call = {{"method", "org.pmemd." + method}, {"parameters", parameters}};
  if (more) call["more"] = true;
  const std::string message = call.dump() + '\0';
  if (write(fd_.get(), message.data(), message.size()) != static_cast<ssize_t>(message.size())) {
    throw_errno(method);
  }
}

std::optional<Json> ControlStream::receive(std::chrono::milliseconds patience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  std::array<char, 65536> buffer{};
  size_t end = std::string::npos;
  while ((end = received_.find('\0')) == std::string::npos) {
    if (!wait_readable(fd_.get(), deadline)) return std::nullopt;
    const ssize_t got = read(fd_.get(), buffer.data(), buffer.size());
    if (got <= 0) throw std::runtime_error("the daemon hung up");
    received_.append(buffer.data(), static_cast<size_t>(got));
  }
  Json reply = Json::parse(received_.substr(0, end));
  received_.erase(0, end + 1);
  return reply;
}

ControlClient::Answer ControlClient::call(const std::string& method, const Json& parameters) {
  stream_.send(method, parameters, /*more=*/false);
  const auto reply = stream_.receive(kPatience);
  if (!reply) throw std::runtime_error(method + ": no answer in time");
  return {reply->value("parameters", Json::object()), reply->value("error", "")};
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
