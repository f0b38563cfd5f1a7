#include "tests/fuzz/varlink_properties.h"

#include <algorithm>
#include <string>

#include "core/control/interface.h"
#include "core/control/varlink.h"

namespace pmemd::test {

namespace {

// An error must reach the client whole, and say something of ours or of Varlink's.
std::string_view check_error(const VarlinkError& error) {
  const std::string bytes = encode(error);
  if (bytes.find('\0') != bytes.size() - 1) return "an error has a NUL inside, or none at its end";
  const auto reply = parse_reply(std::string_view(bytes).substr(0, bytes.size() - 1));
  if (!reply || reply->error != error.name) return "an error can't be read back";
  if (!error.name.starts_with("org.")) return "an error without a name";
  return {};
}

std::string_view check_message(const std::string& message) {
  if (message.size() > kMaxCallBytes) return "a message longer than allowed";
  const auto call = parse_call(message);
  if (!call) return check_error(call.error());
  std::string again = encode(*call);
  again.pop_back();
  const auto same = parse_call(again);
  if (again.size() <= kMaxCallBytes &&
      (!same || same->method != call->method || same->parameters != call->parameters)) {
    return "a call can't be read back";
  }
  const auto method = find_method(*call);
  if (!method) return check_error(method.error());
  if (const auto wrong = check_parameters(**method, *call)) return check_error(*wrong);
  for (const Parameter& parameter : (*method)->parameters) {  // accepted: so these must not assert
    if (parameter.type == ParameterType::kBool) (void)call->flag(parameter.name);
    if (parameter.type == ParameterType::kInt) (void)call->number(parameter.name);
    if (parameter.type == ParameterType::kText) (void)call->text(parameter.name);
    if (parameter.type == ParameterType::kTexts) (void)call->texts(parameter.name);
  }
  return {};
}

}  // namespace

std::string_view check_varlink_input(std::string_view bytes) {
  if (bytes.empty()) return {};
  const size_t piece = static_cast<unsigned char>(bytes[0]) + size_t{1};
  bytes.remove_prefix(1);
  MessageSplitter splitter(kMaxCallBytes);
  while (true) {
    auto message = splitter.next();
    if (!message) return check_error(failed(message.error()));
    if (*message) {
      if (const auto wrong = check_message(**message); !wrong.empty()) return wrong;
      continue;
    }
    if (bytes.empty()) return {};
    const size_t count = std::min({piece, splitter.room(), bytes.size()});
    if (count == 0) return "no message, and no room for more bytes";
    splitter.append(bytes.substr(0, count));
    bytes.remove_prefix(count);
  }
}

}  // namespace pmemd::test
