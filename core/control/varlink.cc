#include "core/control/varlink.h"

#include <fmt/format.h>

#include <cassert>
#include <cstring>
#include <set>
#include <utility>
#include <vector>

namespace pmemd {

namespace {

// Reads a message without building anything from it, and stops at anything that would make building
// costly or ambiguous.
class LimitChecker : public nlohmann::json_sax<Json> {
 public:
  const Error& error() const { return error_; }

  bool null() override { return value(); }
  bool boolean(bool) override { return value(); }
  bool number_integer(number_integer_t) override { return value(); }
  bool number_unsigned(number_unsigned_t) override { return value(); }
  bool number_float(number_float_t, const string_t&) override { return value(); }
  bool string(string_t&) override { return value(); }
  bool binary(binary_t&) override { return value(); }

  bool start_object(size_t) override { return open(); }
  bool start_array(size_t) override { return open(); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(string_t& name) override {
    if (keys_.back().insert(name).second) return true;
    return refuse(EBADMSG, "message: a key occurs twice in one object");
  }

  bool parse_error(size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    return refuse(EBADMSG, fmt::format("message: no valid JSON at byte {}", position));
  }

 private:
  bool value() {
    if (++values_ <= kMaxCallValues) return true;
    return refuse(E2BIG, fmt::format("message: more than {} values", kMaxCallValues));
  }
  bool open() {
    if (keys_.size() == kMaxCallDepth) {
      return refuse(E2BIG, fmt::format("message: nested deeper than {}", kMaxCallDepth));
    }
    keys_.emplace_back();
    return value();
  }
  bool close() {
    keys_.pop_back();
    return true;
  }
  bool refuse(int err, std::string message) {
    error_ = fail(err, std::move(message)).error();
    return false;
  }

  Error error_;
  size_t values_ = 0;
  std::vector<std::set<std::string>> keys_;  // of each open object; empty for an array
};

std::string with_nul(Json message) {
  std::string bytes = message.dump(-1, ' ', false, Json::error_handler_t::replace);
  bytes += '\0';
  take_apart(message);
  return bytes;
}

const Json* find(const Json& parameters, std::string_view name) {
  const auto found = parameters.find(name);
  return found == parameters.end() || found->is_null() ? nullptr : &*found;
}

Result<Call> call_from(Json message) {
  if (!message.is_object()) return fail(EBADMSG, "message: not a JSON object");
  Call call;
  for (auto& [key, value] : message.items()) {
    if (key == "method" && value.is_string()) {
      call.method = value.get<std::string>();
    } else if (key == "parameters" && (value.is_object() || value.is_null())) {
      if (!value.is_null()) call.parameters = std::move(value);
    } else if (key == "more" && value.is_boolean()) {
      call.more = value.get<bool>();
    } else if (key == "oneway" && value.is_boolean()) {
      call.oneway = value.get<bool>();
    } else if (key == "upgrade" && value.is_boolean()) {
      if (value.get<bool>()) return fail(EOPNOTSUPP, "message: 'upgrade' is not supported");
    } else {
      return fail(EBADMSG, fmt::format("message: '{}' is not part of a call, or of a wrong type",
                                       std::string_view(key).substr(0, 64)));
    }
  }
  if (call.method.empty()) return fail(EBADMSG, "message: no 'method'");
  if (call.more && call.oneway) return fail(EBADMSG, "message: both 'more' and 'oneway'");
  return call;
}

}  // namespace

bool Call::flag(std::string_view name) const {
  const Json* value = find(parameters, name);
  assert(value == nullptr || value->is_boolean());
  return value != nullptr && value->get<bool>();
}

std::optional<uint64_t> Call::number(std::string_view name) const {
  const Json* value = find(parameters, name);
  assert(value == nullptr || value->is_number_integer());
  return value == nullptr ? std::nullopt : std::optional(value->get<uint64_t>());
}

std::optional<std::string> Call::text(std::string_view name) const {
  const Json* value = find(parameters, name);
  assert(value == nullptr || value->is_string());
  return value == nullptr ? std::nullopt : std::optional(value->get<std::string>());
}

std::vector<std::string> Call::texts(std::string_view name) const {
  const Json* value = find(parameters, name);
  assert(value == nullptr || value->is_array());
  return value == nullptr ? std::vector<std::string>() : value->get<std::vector<std::string>>();
}

std::string encode(const Call& call) {
  Json message = {{"method", call.method}, {"parameters", call.parameters}};
  if (call.more) message["more"] = true;
  if (call.oneway) message["oneway"] = true;
  return with_nul(std::move(message));
}

std::string encode(Reply reply) {
  Json message = Json::object();
  if (!reply.error.empty()) message["error"] = reply.error;
  message["parameters"] = std::move(reply.parameters);
  if (reply.continues) message["continues"] = true;
  return with_nul(std::move(message));
}

std::string encode(const VarlinkError& error) {
  return encode(Reply{error.parameters, false, error.name});
}

std::expected<Call, VarlinkError> parse_call(std::string_view message) {
  LimitChecker checker;
  if (!Json::sax_parse(message, &checker)) return std::unexpected(failed(checker.error()));
  Result<Call> call = call_from(Json::parse(message, nullptr, /*allow_exceptions=*/false));
  if (!call) return std::unexpected(failed(call.error()));
  return *std::move(call);
}

Result<Reply> parse_reply(std::string_view message) {
  const auto bad = [](const char* cause) {
    return fail(EBADMSG, fmt::format("the daemon's reply: {}", cause));
  };
  Json json = Json::parse(message, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return bad("not a JSON object");
  Reply reply;
  if (const Json* error = find(json, "error")) {
    if (!error->is_string()) return bad("'error' is not a string");
    reply.error = error->get<std::string>();
  }
  if (const Json* continues = find(json, "continues")) {
    if (!continues->is_boolean()) return bad("'continues' is not a bool");
    reply.continues = continues->get<bool>();
  }
  if (const Json* parameters = find(json, "parameters")) {
    if (!parameters->is_object()) return bad("'parameters' is not an object");
    reply.parameters = *parameters;
  }
  return reply;
}

VarlinkError failed(const Error& error, const Json& details) {
  const char* name = strerrorname_np(error.err());
  Json parameters = {{"errno", error.err()},
                     {"errno_name", name != nullptr ? name : ""},
                     {"message", error.message.empty() ? error.code.message() : error.message}};
  if (!error.hint.empty()) parameters["hint"] = error.hint;
  parameters.update(details);
  return {"org.pmemd.Failed", std::move(parameters)};
}

void MessageSplitter::append(std::string_view bytes) {
  // Erased only now, so that many small messages don't each move the rest.
  bytes_.erase(0, begin_);
  searched_ -= std::exchange(begin_, 0);
  bytes_ += bytes;
}

Result<std::optional<std::string>> MessageSplitter::next() {
  const size_t end = std::min(bytes_.find('\0', searched_), bytes_.size());
  if (end - begin_ > max_message_bytes_) {
    return fail(EMSGSIZE, fmt::format("message: longer than {} bytes", max_message_bytes_));
  }
  searched_ = end;
  if (end == bytes_.size()) return std::nullopt;
  std::string message = bytes_.substr(begin_, end - begin_);
  begin_ = searched_ = end + 1;
  return message;
}

}  // namespace pmemd
