#include "cli/verbs/configure.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <memory>
#include <string>
#include <vector>

#include "cli/output/fields.h"
#include "cli/output/json_output.h"
#include "cli/output/table.h"

namespace pmemd::cli {
namespace {

void render_settings(std::ostream& out, const Json& reply) {
  Table table(
      {{"SETTING"}, {"VALUE"}, {"OR"}, {"MEANING", Table::Align::kLeft, Table::Elastic::kEnd}});
  for (const Json& setting : list_of(reply, "settings")) {
    std::string others;
    for (const Json& value : list_of(setting, "values")) {
      if (!value.is_string() || value == setting.value("value", "")) continue;
      others += (others.empty() ? "" : ", ") + value.get<std::string>();
    }
    table.add({text_of(setting, "name"), text_of(setting, "value"), printable(others),
               text_of(setting, "help")});
  }
  table.print(out);
}

int configure(Session& session, Json parameters, const std::vector<std::string>& words) {
  const bool changes = !words.empty() || parameters.contains("profile");
  if (!words.empty()) parameters["settings"] = fmt::format("{}", fmt::join(words, " "));
  return call_and_show_all(session, changes ? "Configure" : "Settings", parameters,
                           render_settings);
}

}  // namespace

void add_configure_verb(const Verbs& verbs) {
  Session& session = verbs.session;
  const auto parameters = no_parameters();
  const auto words = std::make_shared<std::vector<std::string>>();
  CLI::App* verb =
      verbs.add("configure", "Show or set how a namespace behaves when its memory fails",
                "pmemctl configure namespace0.0\n"
                "  pmemctl configure namespace0.0 clear-unit=4096 kill=early\n"
                "  pmemctl configure namespace0.0 --profile 6.1",
                [=, &session] { return configure(session, *parameters, *words); });
  add_name(verb, "namespace", parameters, "namespace", "Which one")->required();
  verb->add_option("settings", *words,
                   "Settings to change; without any and without --profile, show all")
      ->type_name("NAME=VALUE")
      ->expected(1, 64)
      ->check([](const std::string& word) {
        const bool is_setting =
            word.find('=') != std::string::npos && word.find(' ') == std::string::npos;
        return is_setting ? std::string() : "'" + word + "': not NAME=VALUE";
      });
  add_text(verb, "--profile", parameters, "profile",
           "First set those of a kernel or file system: before-6.5, 6.5+ (or any version, such as "
           "6.1), ext4, xfs")
      ->type_name("NAME");
}

}  // namespace pmemd::cli
