// The Varlink protocol: calls, replies and errors to and from bytes. https://varlink.org
//
// A message is one JSON object in UTF-8, ended by a NUL byte. A client sends calls
//   {"method":"org.pmemd.List","parameters":{...},"more":true}
// and gets, in their order, {"parameters":{...}} (with "continues":true if more replies to the
// same call follow) or {"error":"org.pmemd.Failed","parameters":{...}}.
//
// Invariants:
//  1. parse_call() and MessageSplitter are total: any bytes give a message, a call or an error.
//     The limits below bound the memory they use.
//  2. encode_*() returns valid UTF-8 that ends with its only NUL; bytes of a name that aren't UTF-8
//     become U+FFFD.
//
// Thread contract: values; no shared state. MessageSplitter: one thread at a time.
#pragma once

#include <algorithm>
#include <cstddef>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/error.h"
#include "core/control/json.h"

namespace pmemd {

// Limits on what a call may cost us. Every call of ours fits many times over.
inline constexpr size_t kMaxCallBytes = 64 * 1024;
inline constexpr size_t kMaxCallDepth = 16;
inline constexpr size_t kMaxCallValues = 1024;

struct Call {
  std::string method;  // with its interface: "org.pmemd.List"
  Json parameters = Json::object();
  bool more = false;    // wants a stream of replies
  bool oneway = false;  // wants no reply

  // A parameter's value, nothing when it is absent or null. Only for calls that check_parameters()
  // accepted; a type other than the interface's is our own bug and asserts.
  bool flag(std::string_view name) const;  // false when absent
  std::optional<uint64_t> number(std::string_view name) const;
  std::optional<std::string> text(std::string_view name) const;
  std::vector<std::string> texts(std::string_view name) const;  // empty when absent
};

struct VarlinkError {
  std::string name;  // "org.varlink.service.MethodNotFound"
  Json parameters = Json::object();
};

struct Reply {
  Json parameters = Json::object();
  bool continues = false;  // another reply to the same call follows
  std::string error;       // a VarlinkError's name; empty: success
};

std::string encode(const Call& call);
std::string encode(Reply reply);
std::string encode(const VarlinkError& error);

// Parses a message (without its NUL) as a call. On failure returns the reply to send:
// org.pmemd.Failed with EBADMSG (not JSON, or not a call), E2BIG (nested too deep, too many values)
// or EOPNOTSUPP ("upgrade").
std::expected<Call, VarlinkError> parse_call(std::string_view message);

// EBADMSG: not a reply. For clients, which trust the daemon's sizes.
Result<Reply> parse_reply(std::string_view message);

// Turns `error` into our interface's error: org.pmemd.Failed(errno, errno_name, message, hint),
// with the members of `details` (an object, e.g. {"holders": [...]}) added.
VarlinkError failed(const Error& error, const Json& details = Json::object());

// Cuts a stream of bytes into messages.
class MessageSplitter {
 public:
  explicit MessageSplitter(size_t max_message_bytes) : max_message_bytes_(max_message_bytes) {}

  void append(std::string_view bytes);

  // The next whole message, without its NUL; nothing: it needs more bytes. EMSGSIZE: longer than
  // allowed; the stream can't be read any further, and each later call returns the same.
  Result<std::optional<std::string>> next();

  // How many bytes append() may add before next() must be called.
  size_t room() const {
    return max_message_bytes_ + 1 - std::min(bytes_.size() - begin_, max_message_bytes_ + 1);
  }

 private:
  const size_t max_message_bytes_;
  std::string bytes_;
  size_t begin_ = 0;     // of the next message
  size_t searched_ = 0;  // no NUL from begin_ to here
};

}  // namespace pmemd
