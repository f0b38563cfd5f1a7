#include "daemon/control/event_json.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

namespace pmemd {

std::string to_text(std::chrono::system_clock::time_point time) {
  const auto us = std::chrono::duration_cast<std::chrono::microseconds>(time.time_since_epoch());
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:06}Z",
                     fmt::gmtime(std::chrono::system_clock::to_time_t(time)),
                     us.count() % 1'000'000);
}

Json to_json(const Event& event) {
  Json json = {{"seq", event.seq},
               {"time", to_text(event.time)},
               {"kind", to_string(event.kind)},
               {"namespace", event.name_of_namespace},
               {"offset", event.range.begin},
               {"length", event.range.length()}};
  if (event.file) {
    json["file"] = event.file->path;
    json["file_offset"] = event.file->range.begin;
    json["file_length"] = event.file->range.length();
  }
  return json;
}

}  // namespace pmemd
