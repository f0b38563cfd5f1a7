// The parts of a verb: its options fill a Json, which its call then sends.
//
// Thread contract: one thread.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "cli/session/session.h"
#include "core/base/error.h"

namespace pmemd::cli {

// Runs the chosen verb and returns the exit code. Set while the command line is parsed.
using Action = std::function<int()>;

// Shared, because CLI11 copies the functions that fill it.
using Parameters = std::shared_ptr<Json>;
inline Parameters no_parameters() { return std::make_shared<Json>(Json::object()); }

struct Verbs {
  CLI::App& app;
  Session& session;
  Action& action;

  // Adds a verb; `run` is its action.
  CLI::App* add(const std::string& name, const std::string& purpose, const std::string& examples,
                Action run) const;
};

// --- options: each sets `key`. A value that can't be parsed is an error that names the option.

template <class Parse>
CLI::Option* add_parsed(CLI::App* verb, const std::string& flags, const Parameters& parameters,
                        const std::string& key, const std::string& help, Parse parse) {
  return verb->add_option(
      flags,
      [=](const CLI::results_t& texts) {
        const auto value = parse(texts.back());
        if (!value) {
          throw CLI::ValidationError(flags.substr(flags.find(',') + 1), value.error().describe());
        }
        (*parameters)[key] = *value;
        return true;
      },
      help);
}

// Any text.
CLI::Option* add_text(CLI::App* verb, const std::string& flags, const Parameters& parameters,
                      const std::string& key, const std::string& help);
// One of these texts; the first is the default.
CLI::Option* add_choice(CLI::App* verb, const std::string& flags, const Parameters& parameters,
                        const std::string& key, const std::string& help,
                        const std::vector<std::string>& choices);
// In bytes.
CLI::Option* add_size(CLI::App* verb, const std::string& flags, const Parameters& parameters,
                      const std::string& key, const std::string& help);
// In bytes; 0 is allowed.
CLI::Option* add_offset(CLI::App* verb, const std::string& flags, const Parameters& parameters,
                        const std::string& key, const std::string& help);
// In milliseconds.
CLI::Option* add_time(CLI::App* verb, const std::string& flags, const Parameters& parameters,
                      const std::string& key, const std::string& help);
CLI::Option* add_flag(CLI::App* verb, const std::string& flags, const Parameters& parameters,
                      const std::string& key, const std::string& help);
inline constexpr uint64_t kBlockBytes = 512;  // ndctl's

// "--offset" and "--length" in bytes, or "-B,--block" and "-n,--count" in blocks of 512 bytes; both
// pairs set the keys "offset" and "length".
struct RangeOptions {
  CLI::Option* offset;
  CLI::Option* length;
  CLI::Option* block;
  CLI::Option* count;
};
RangeOptions add_range(CLI::App* verb, const Parameters& parameters);
// The name of a "region" or "namespace"; `kind` is also the key. As in ndctl, "0" means "region0"
// and "0.1" means "namespace0.1".
CLI::Option* add_name(CLI::App* verb, const std::string& flags, const Parameters& parameters,
                      const std::string& kind, const std::string& help);

// Turns "0.1" of kind "namespace" into "namespace0.1"; returns any other name unchanged.
std::string full_name(const std::string& kind, const std::string& name);

// The positional "object" (also the key): a region or namespace; "0" and "0.1" as above.
CLI::Option* add_object(CLI::App* verb, const Parameters& parameters);
// Several names, as an array in `key`.
CLI::Option* add_names(CLI::App* verb, const std::string& flags, const Parameters& parameters,
                       const std::string& kind, const std::string& key, const std::string& help);

// Throws a CLI11 usage error if `parameters` break one of the method's rules
// (core/control/rules.h).
void check_usage(std::string_view method, const Json& parameters);

// --- calls; each returns the exit code

// Shows one member of the reply: an object or an array of objects.
int call_and_show(Session& session, const std::string& method, const Json& parameters,
                  const char* key, void (*render)(std::ostream&, const Json&));
// Prints only "<object>: <done>".
int call_and_tell(Session& session, const std::string& method, const Json& parameters,
                  std::string_view done, const char* object);
// Shows the whole reply.
int call_and_show_all(Session& session, const std::string& method, const Json& parameters,
                      void (*render)(std::ostream&, const Json&));

}  // namespace pmemd::cli
