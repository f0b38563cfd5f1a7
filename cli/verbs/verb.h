// How a verb is put together: its options collect in a Json, which its call then sends.
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

// What the verb that was given does; returns the exit code. Set while the command line is parsed.
using Action = std::function<int()>;

// Shared, since CLI11 copies the functions that fill it.
using Parameters = std::shared_ptr<Json>;
inline Parameters no_parameters() { return std::make_shared<Json>(Json::object()); }

struct Verbs {
  CLI::App& app;
  Session& session;
  Action& action;

  // The verb, and what it does when it was chosen.
  CLI::App* add(const std::string& name, const std::string& purpose, const std::string& examples,
                Action run) const;
};

// --- options: each sets `key`. What can't be parsed is an error that names the option.

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
// One of these texts; the first is what holds without it.
CLI::Option* add_choice(CLI::App* verb, const std::string& flags, const Parameters& parameters,
                        const std::string& key, const std::string& help,
                        const std::vector<std::string>& choices);
// In bytes.
CLI::Option* add_size(CLI::App* verb, const std::string& flags, const Parameters& parameters,
                      const std::string& key, const std::string& help);
// The same, and 0 is one too.
CLI::Option* add_offset(CLI::App* verb, const std::string& flags, const Parameters& parameters,
                        const std::string& key, const std::string& help);
// In milliseconds.
CLI::Option* add_time(CLI::App* verb, const std::string& flags, const Parameters& parameters,
                      const std::string& key, const std::string& help);
CLI::Option* add_flag(CLI::App* verb, const std::string& flags, const Parameters& parameters,
                      const std::string& key, const std::string& help);
inline constexpr uint64_t kBlockBytes = 512;  // ndctl's

// "--offset" and "--length" in bytes, or "-B,--block" and "-n,--count" in blocks of 512: all of
// them set the keys "offset" and "length".
struct RangeOptions {
  CLI::Option* offset;
  CLI::Option* length;
  CLI::Option* block;
  CLI::Option* count;
};
RangeOptions add_range(CLI::App* verb, const Parameters& parameters);
// Of a "region" or "namespace" (the kind, and the key): "0" means "region0" and "0.1"
// "namespace0.1", as with ndctl.
CLI::Option* add_name(CLI::App* verb, const std::string& flags, const Parameters& parameters,
                      const std::string& kind, const std::string& help);

// "0.1" of kind "namespace" is "namespace0.1"; another name is itself.
std::string full_name(const std::string& kind, const std::string& name);

// The positional "object", whose key that is: a region or namespace; "0" and "0.1" as above.
CLI::Option* add_object(CLI::App* verb, const Parameters& parameters);
// Several of them, as an array in `key`.
CLI::Option* add_names(CLI::App* verb, const std::string& flags, const Parameters& parameters,
                       const std::string& kind, const std::string& key, const std::string& help);

// Throws what CLI11 shows as wrong usage, if they break a rule of the method's
// (core/control/rules.h).
void check_usage(std::string_view method, const Json& parameters);

// --- calls; the exit code

// One whose reply has one member worth showing: an object or an array of them.
int call_and_show(Session& session, const std::string& method, const Json& parameters,
                  const char* key, void (*render)(std::ostream&, const Json&));
// One that tells nothing but that it is done: "<the object>: <done>".
int call_and_tell(Session& session, const std::string& method, const Json& parameters,
                  std::string_view done, const char* object);
// One whose whole reply is shown.
int call_and_show_all(Session& session, const std::string& method, const Json& parameters,
                      void (*render)(std::ostream&, const Json&));

}  // namespace pmemd::cli
