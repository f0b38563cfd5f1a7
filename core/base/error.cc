#include "core/base/error.h"

namespace pmemd {

std::string Error::describe() const {
  std::string text = message.empty() ? code.message() : message;
  if (!hint.empty()) text += " (" + hint + ")";
  return text;
}

std::unexpected<Error> fail(int err) {
  return std::unexpected(Error{{err, std::generic_category()}, {}, {}});
}

std::unexpected<Error> fail(int err, std::string message, std::string hint) {
  return std::unexpected(
      Error{{err, std::generic_category()}, std::move(message), std::move(hint)});
}

std::unexpected<Error> fail_errno(std::string what, std::string hint) {
  const std::error_code code{errno, std::generic_category()};
  return std::unexpected(Error{code, std::move(what) + ": " + code.message(), std::move(hint)});
}

}  // namespace pmemd
