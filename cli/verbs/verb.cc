#include "cli/verbs/verb.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>

#include "cli/input/duration.h"
#include "cli/input/number.h"
#include "cli/output/json_output.h"
#include "core/base/units.h"
#include "core/control/rules.h"

namespace pmemd::cli {
std::string full_name(const std::string& kind, const std::string& name) {
  const bool is_id = !name.empty() && name.find_first_not_of("0123456789.") == std::string::npos;
  return is_id ? kind + name : name;
}

CLI::App* Verbs::add(const std::string& name, const std::string& purpose,
                     const std::string& examples, Action run) const {
  CLI::App* verb = app.add_subcommand(name, purpose);
  verb->footer("Example:\n  " + examples);
  verb->callback([&chosen = action, run = std::move(run)] { chosen = run; });
  return verb;
}

CLI::Option* add_text(CLI::App* verb, const std::string& flags, const Parameters& parameters,
                      const std::string& key, const std::string& help) {
  return add_parsed(verb, flags, parameters, key, help,
                    [](const std::string& text) -> Result<std::string> { return text; });
}

CLI::Option* add_choice(CLI::App* verb, const std::string& flags, const Parameters& parameters,
                        const std::string& key, const std::string& help,
                        const std::vector<std::string>& choices) {
  const std::string all = fmt::format("{}", fmt::join(choices, ", "));
  const auto parse = [=](const std::string& text) -> Result<std::string> {
    if (std::ranges::find(choices, text) != choices.end()) return text;
    return fail(EINVAL, fmt::format("'{}': none of {}", text, all));
  };
  return add_parsed(verb, flags, parameters, key,
                    fmt::format("{}: {} (default: {})", help, all, choices.front()), parse)
      ->type_name("WHICH");
}

CLI::Option* add_size(CLI::App* verb, const std::string& flags, const Parameters& parameters,
                      const std::string& key, const std::string& help) {
  return add_parsed(verb, flags, parameters, key, help + " (bytes, or 64M, 1G, 1T)", parse_size)
      ->type_name("SIZE");
}

CLI::Option* add_offset(CLI::App* verb, const std::string& flags, const Parameters& parameters,
                        const std::string& key, const std::string& help) {
  const auto parse = [](const std::string& text) -> Result<uint64_t> {
    if (text == "0") return uint64_t{0};
    return parse_size(text);
  };
  return add_parsed(verb, flags, parameters, key, help + " (bytes, or 64M, 1G, 1T)", parse)
      ->type_name("OFFSET");
}

RangeOptions add_range(CLI::App* verb, const Parameters& parameters) {
  const auto in_bytes = [](const std::string& text, uint64_t blocks) -> Result<uint64_t> {
    if (blocks > INT64_MAX / kBlockBytes) return fail(ERANGE, text + ": too many");
    return blocks * kBlockBytes;
  };
  const auto parse_block = [=](const std::string& text) -> Result<uint64_t> {
    PMEMD_ASSIGN(const uint64_t block, parse_number(text));
    return in_bytes(text, block);
  };
  const auto parse_blocks = [=](const std::string& text) -> Result<uint64_t> {
    PMEMD_ASSIGN(const uint64_t blocks, parse_count(text));
    return in_bytes(text, blocks);
  };
  const RangeOptions options = {
      .offset = add_offset(verb, "--offset", parameters, "offset", "Start at this byte"),
      .length = add_size(verb, "--length", parameters, "length", "Number of bytes"),
      .block = add_parsed(verb, "-B,--block", parameters, "offset",
                          "Start at this block of 512 bytes", parse_block),
      .count =
          add_parsed(verb, "-n,--count", parameters, "length", "Number of blocks", parse_blocks),
  };
  for (CLI::Option* option : {options.block, options.count}) {
    option->type_name("N")->excludes(options.offset, options.length);
  }
  options.count->needs(options.block);
  return options;
}

CLI::Option* add_time(CLI::App* verb, const std::string& flags, const Parameters& parameters,
                      const std::string& key, const std::string& help) {
  return add_parsed(verb, flags, parameters, key, help + " (500ms, 5s, 2m)", parse_duration_ms)
      ->type_name("TIME");
}

CLI::Option* add_flag(CLI::App* verb, const std::string& flags, const Parameters& parameters,
                      const std::string& key, const std::string& help) {
  return verb->add_flag_callback(
                 flags, [=] { (*parameters)[key] = true; }, help)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
}

CLI::Option* add_name(CLI::App* verb, const std::string& flags, const Parameters& parameters,
                      const std::string& kind, const std::string& help) {
  return add_parsed(
             verb, flags, parameters, kind, help,
             [=](const std::string& name) -> Result<std::string> { return full_name(kind, name); })
      ->type_name("NAME");
}

CLI::Option* add_object(CLI::App* verb, const Parameters& parameters) {
  return add_parsed(verb, "object", parameters, "object", "A region, or a namespace's data",
                    [](const std::string& name) -> Result<std::string> {
                      const bool is_namespace = name.find('.') != std::string::npos;
                      return full_name(is_namespace ? "namespace" : "region", name);
                    })
      ->type_name("NAME");
}

CLI::Option* add_names(CLI::App* verb, const std::string& flags, const Parameters& parameters,
                       const std::string& kind, const std::string& key, const std::string& help) {
  return verb
      ->add_option(
          flags,
          [=](const CLI::results_t& names) {
            Json full = Json::array();
            for (const std::string& name : names) full.push_back(full_name(kind, name));
            (*parameters)[key] = std::move(full);
            return true;
          },
          help)
      ->type_name("NAME")
      ->expected(1, 256)
      ->allow_extra_args();
}

void check_usage(std::string_view method, const Json& parameters) {
  const auto spell = [](std::string_view parameter) {
    std::string name(parameter);
    for (const auto* const positional : {"namespace", "object", "pfn"}) {
      if (name != positional) continue;
      std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::toupper(c); });
      return name;
    }
    if (name.ends_with("_ms")) name.resize(name.size() - 3);
    std::ranges::replace(name, '_', '-');
    return "--" + name;
  };
  const auto fits = check_rules(method, parameters, spell);
  if (!fits) throw CLI::ValidationError(fits.error().message);
}

int call_and_show(Session& session, const std::string& method, const Json& parameters,
                  const char* key, void (*render)(std::ostream&, const Json&)) {
  const auto reply = session.call(method, parameters);
  if (!reply) return session.fail(reply.error());
  const Json shown = reply->contains(key) ? (*reply)[key] : Json::array();
  const Json array = shown.is_array() ? shown : Json::array({shown});
  if (session.json) {
    print_objects(session.out(), array);
  } else {
    render(session.out(), array);
  }
  return kDone;
}

int call_and_tell(Session& session, const std::string& method, const Json& parameters,
                  std::string_view done, const char* object) {
  const auto reply = session.call(method, parameters);
  if (!reply) return session.fail(reply.error());
  if (!session.json) {
    session.out() << fmt::format("{}: {}\n", parameters[object].get<std::string>(), done);
  }
  return kDone;
}

int call_and_show_all(Session& session, const std::string& method, const Json& parameters,
                      void (*render)(std::ostream&, const Json&)) {
  const auto reply = session.call(method, parameters);
  if (!reply) return session.fail(reply.error());
  if (session.json) {
    print_objects(session.out(), Json::array({*reply}));
  } else {
    render(session.out(), *reply);
  }
  return kDone;
}

}  // namespace pmemd::cli
