// Errors as values: `Result<T>` and `Error`.
//
// An Error carries the errno that the kernel's counterpart of a function would return, a message
// that names the object and the cause, and, where there is one, a way on. Core never logs, never
// exits and never throws across a module edge; the caller decides what to do with an Error.
//
// Thread contract: values; no shared state.
#pragma once

#include <cerrno>
#include <expected>
#include <string>
#include <system_error>
#include <utility>

namespace pmemd {

struct Error {
  std::error_code code;  // generic category: an errno
  std::string message;  // "object: cause"; may be empty on the request path, where only code counts
  std::string hint;     // a way on; may be empty

  int err() const { return code.value(); }
  // "object: cause (way on)", falling back to the errno's own words.
  std::string describe() const;
};

// An Error for errno `err` (positive).
std::unexpected<Error> fail(int err);
std::unexpected<Error> fail(int err, std::string message, std::string hint = {});
// An Error for the current errno; the message becomes "<what>: <strerror>".
std::unexpected<Error> fail_errno(std::string what, std::string hint = {});

template <class T>
class [[nodiscard]] Result : public std::expected<T, Error> {
 public:
  using std::expected<T, Error>::expected;

  // The errno, or 0: what a FUSE reply takes.
  int err() const { return this->has_value() ? 0 : this->error().err(); }
};

}  // namespace pmemd

// Returns the error of `expr` (a Result) from the enclosing function, if it has one.
#define PMEMD_TRY(expr)                                                     \
  do {                                                                      \
    auto pmemd_try_ = (expr);                                               \
    if (!pmemd_try_) return std::unexpected(std::move(pmemd_try_).error()); \
  } while (false)

#define PMEMD_CONCAT_INNER(a, b) a##b
#define PMEMD_CONCAT(a, b) PMEMD_CONCAT_INNER(a, b)

// `PMEMD_ASSIGN(auto x, f());`: x is f()'s value, or the enclosing function fails with its error.
#define PMEMD_ASSIGN(lhs, expr) PMEMD_ASSIGN_IMPL(PMEMD_CONCAT(pmemd_result_, __LINE__), lhs, expr)
#define PMEMD_ASSIGN_IMPL(tmp, lhs, expr)                   \
  auto tmp = (expr);                                        \
  if (!tmp) return std::unexpected(std::move(tmp).error()); \
  lhs = *std::move(tmp)
