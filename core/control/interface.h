// The methods of org.pmemd and org.varlink.service, their parameters, and who may call them.
//
// The interface files beside this one tell clients the same, and the replies; a test compares the
// two.
//
// Thread contract: constants and pure functions.
#pragma once

#include <expected>
#include <optional>
#include <span>
#include <string_view>

#include "core/control/varlink.h"

namespace pmemd {

inline constexpr std::string_view kInterface = "org.pmemd";
inline constexpr std::string_view kServiceInterface = "org.varlink.service";

inline constexpr size_t kMaxTextBytes = 4096;  // of one string parameter

enum class Access {
  kAnyone,  // everybody who can connect: the method changes nothing
  kOwner,   // root, the daemon's own user, members of the socket's group
};

enum class ParameterType {
  kBool,
  kInt,    // never negative: each of ours is a size or a time
  kText,   // at most kMaxTextBytes, without NUL
  kTexts,  // an array of them
};

struct Parameter {
  std::string_view name;
  ParameterType type;
  bool optional = false;
};

struct Method {
  std::string_view interface;
  std::string_view name;
  Access access;
  bool streams;  // must be called with "more"
  std::span<const Parameter> parameters;
};

std::span<const Method> methods();

// Finds the method that a call names; else InterfaceNotFound or MethodNotFound.
std::expected<const Method*, VarlinkError> find_method(const Call& call);

// Checks that the method takes these parameters: each known, of its type, none missing. Else
// InvalidParameter with the name of the first wrong one. Also ExpectedMore, for a method that
// streams.
std::optional<VarlinkError> check_parameters(const Method& method, const Call& call);

// Answers a call of org.varlink.service that check_parameters() accepted.
std::expected<Json, VarlinkError> answer_service_call(const Call& call);

// The text of an interface file; empty for an unknown one.
std::string_view interface_description(std::string_view interface);

VarlinkError method_not_implemented(const Call& call);
VarlinkError permission_denied();

}  // namespace pmemd
