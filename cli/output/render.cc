#include "cli/output/render.h"

#include <fmt/format.h>

#include <set>
#include <vector>

#include "cli/input/duration.h"
#include "cli/output/fields.h"
#include "cli/output/table.h"
#include "core/base/units.h"

namespace pmemd::cli {

namespace {

using Align = Table::Align;

std::string size(const Json& object, std::string_view key) {
  return format_size(number_of(object, key));
}

std::string count_of(uint64_t count, std::string_view one, std::string_view many) {
  return fmt::format("{} {}", count, count == 1 ? one : many);
}
std::string processes(uint64_t count) { return count_of(count, "process", "processes"); }

std::string range(uint64_t begin, uint64_t length) {
  return fmt::format("{:#x}-{:#x}", begin, begin + length);
}

std::string seconds(uint64_t s) {
  if (s < 60) return fmt::format("{} s", s);
  if (s < 3600) return fmt::format("{} min {} s", s / 60, s % 60);
  if (s < 24 * 3600) return fmt::format("{} h {} min", s / 3600, s / 60 % 60);
  return fmt::format("{} d {} h", s / 3600 / 24, s / 3600 % 24);
}

// Of a namespace or volume.
std::string state_of(const Json& object) {
  if (const std::string state = text_of(object, "state"); !state.empty()) return state;
  std::string state = list_of(object, "missing").empty() ? "enabled" : "degraded";
  const std::string volume = text_of(object, "volume");
  return volume.empty() ? state : state + ", a leg of " + volume;
}

// The signal a holder gets, or what became of it.
std::string fate_of(const Json& holder) {
  const std::string became = text_of(holder, "became"), by = text_of(holder, "ended_by");
  if (!became.empty()) return became + (by.empty() ? "" : ": " + by);
  if (text_of(holder, "signal").empty()) return "";
  return text_of(holder, "signal") + " " + text_of(holder, "code");
}

void add_holder(Table& table, const Json& holder) {
  const std::string gets = fate_of(holder);
  const std::string fate_if_gone = text_of(holder, "became").empty() ? "" : gets;
  const std::string kernel = text_of(holder, "kernel");
  const auto how = [&](const Json& open) {
    return kernel.empty() ? "fd " + text_of(open, "fd") : "by " + kernel;
  };
  const auto add = [&](const Json& use, std::string where, std::string present, std::string get) {
    const std::string comm = text_of(holder, "comm");
    table.add({text_of(holder, "pid"), comm.empty() ? "(ended)" : comm, text_of(holder, "uid"),
               text_of(use, "file"), std::move(where), std::move(present), std::move(get)});
  };
  std::set<std::string> mapped;
  for (const Json& mapping : list_of(holder, "mappings")) {
    mapped.insert(text_of(mapping, "file"));
    add(mapping,
        range(number_of(mapping, "offset"), number_of(mapping, "length")) +
            (flag_of(mapping, "private") ? " private" : ""),
        count_of(number_of(mapping, "pages_present"), "page", "pages"), gets);
  }
  for (const Json& open : list_of(holder, "open_files")) {
    if (!mapped.contains(text_of(open, "file"))) add(open, how(open), "open", fate_if_gone);
  }
}

// Only steps that took time; a line with all would be too long. The JSON has them all.
void render_steps(std::ostream& out, const Json& report) {
  constexpr uint64_t kWorthTellingUs = 10;
  std::string line;
  for (const Json& step : list_of(report, "steps")) {
    if (number_of(step, "us") < kWorthTellingUs) continue;
    if (!line.empty()) line += ", ";
    line += text_of(step, "name") + " " + format_us(number_of(step, "us"));
  }
  if (!line.empty()) out << "  " << line << '\n';
}

}  // namespace

void render_regions(std::ostream& out, const Json& regions) {
  if (regions.empty()) {
    out << "no regions\n";
    return;
  }
  Table table({{"REGION"},
               {"SIZE", Align::kRight},
               {"AVAILABLE", Align::kRight},
               {"LARGEST", Align::kRight},
               {"BASE", Align::kRight},
               {"SPACE"}});
  for (const Json& region : regions) {
    table.add({text_of(region, "dev"), size(region, "size"), size(region, "available_size"),
               size(region, "max_available_extent"),
               fmt::format("{:#x}", number_of(region, "base")),
               flag_of(region, "sparse") ? "sparse" : "reserved"});
  }
  table.print(out);
}

void render_namespaces(std::ostream& out, const Json& namespaces) {
  if (namespaces.empty()) {
    out << "no namespaces (--idle lists the disabled ones too)\n";
    return;
  }
  Table table({{"NAMESPACE"},
               {"MODE"},
               {"SIZE", Align::kRight},
               {"ALIGN", Align::kRight},
               {"STATE"},
               {"DEVICE"},
               {"UUID"}});
  for (const Json& space : namespaces) {
    table.add({text_of(space, "dev"), text_of(space, "mode"), size(space, "size"),
               size(space, "align"), state_of(space),
               text_of(space, "blockdev") + text_of(space, "chardev"), text_of(space, "uuid")});
  }
  table.print(out);
}

void render_volumes(std::ostream& out, const Json& volumes) {
  if (volumes.empty()) {
    out << "no volumes (--idle lists the disabled ones too)\n";
    return;
  }
  Table table({{"VOLUME"},
               {"TYPE"},
               {"SIZE", Align::kRight},
               {"CHUNK", Align::kRight},
               {"STATE"},
               {"DEVICE"},
               {"LEGS"}});
  for (const Json& volume : volumes) {
    std::string legs;
    for (const Json& leg : list_of(volume, "legs")) {
      legs += (legs.empty() ? "" : " ") + leg.get<std::string>();
    }
    table.add({text_of(volume, "dev"), text_of(volume, "type"), size(volume, "size"),
               volume.contains("chunk") ? size(volume, "chunk") : "", state_of(volume),
               text_of(volume, "blockdev"), legs});
  }
  table.print(out);
}

namespace {

std::string writeback(const Json& status) {
  if (!flag_of(status, "tuned")) return "default limits: stores are throttled (run as root)";
  if (!status.contains("dirty_background_bytes")) return "limits raised: stores at memory speed";
  return fmt::format("limits raised: stores at memory speed, up to {} dirty on the host",
                     size(status, "dirty_background_bytes"));
}

}  // namespace

void render_status(std::ostream& out, const Json& status) {
  const auto line = [&](std::string_view name, std::string_view value) {
    out << fmt::format("{:<12}{}\n", name, value);
  };
  line("daemon", fmt::format("pmemd {}, pid {}, up {}{}", text_of(status, "version"),
                             text_of(status, "pid"), seconds(number_of(status, "uptime_s")),
                             flag_of(status, "privileged") ? "" : ", without privileges"));
  line("pool", text_of(status, "pool"));
  line("mount", text_of(status, "mount"));
  line("writeback", writeback(status));
  line("regions", text_of(status, "regions"));
  line("namespaces",
       fmt::format("{}, {} enabled", text_of(status, "namespaces"), text_of(status, "enabled")));
  line("requests", text_of(status, "requests"));
  const uint64_t pins = number_of(status, "pins");
  line("handles", fmt::format("{} open{}", text_of(status, "open_handles"),
                              pins == 0 ? "" : ", " + count_of(pins, "pin", "pins")));
  line("lent", fmt::format("{} in {}", size(status, "lent_bytes"),
                           count_of(number_of(status, "lent_ranges"), "range", "ranges")));
  if (const uint64_t count = number_of(status, "abandoned")) {
    line("abandoned", count_of(count, "reference", "references"));
  }
  line("events",
       fmt::format("{}, {}", text_of(status, "events"),
                   count_of(number_of(status, "subscribers"), "subscriber", "subscribers")));
}

void render_holders(std::ostream& out, const Json& holders) {
  Table table({{"PID", Align::kRight},
               {"COMMAND"},
               {"UID", Align::kRight},
               {"FILE", Align::kLeft, Table::Elastic::kBegin},
               {"RANGE"},
               {"PRESENT", Align::kRight},
               {"GETS"}});
  for (const Json& holder : holders) add_holder(table, holder);
  if (!table.empty()) table.print(out);
}

namespace {

// "3 processes lost it (1 ended), 2 let go before".
std::string who_was_hit(const Json& holders, bool hits) {
  uint64_t ended = 0, let_go = 0;
  for (const Json& holder : holders) {
    if (text_of(holder, "became") == "ended") ++ended;
    if (text_of(holder, "became") == "let go") ++let_go;
  }
  std::string text = processes(holders.size() - let_go) + (hits ? " lost it" : " kept it");
  if (ended != 0) text += fmt::format(" ({} ended)", ended);
  if (let_go != 0) text += fmt::format(", {} let go before", let_go);
  return text;
}

}  // namespace

void render_report(std::ostream& out, const Json& report) {
  uint64_t us = 0;
  for (const Json& step : list_of(report, "steps")) us += number_of(step, "us");
  const Json& holders = list_of(report, "holders");
  const bool dry_run = flag_of(report, "dry_run");
  const bool hits = flag_of(report, "hits_mappings");  // else the memory stays with its processes
  if (dry_run) {
    out << fmt::format("{}: would be disabled; {} would {} it\n", text_of(report, "namespace"),
                       processes(holders.size()), hits ? "lose" : "keep");
  } else {
    out << fmt::format("{}: {} in {}{}; {}\n", text_of(report, "namespace"),
                       text_of(report, "state"), format_us(us),
                       flag_of(report, "surprise") ? " by surprise (nothing was flushed)" : "",
                       who_was_hit(holders, hits));
    render_steps(out, report);
  }
  out << fmt::format("  {}: {} in {} lent", dry_run ? "to take back" : "taken back",
                     size(report, "lent_bytes"),
                     count_of(number_of(report, "lent_ranges"), "range", "ranges"));
  if (!dry_run) {
    out << fmt::format("; {} flushed, {} revoked",
                       count_of(number_of(report, "files_flushed"), "file", "files"),
                       number_of(report, "files_revoked"));
  }
  out << '\n';
  for (const Json& pid : list_of(report, "killed")) out << "  killed: " << pid << '\n';
  if (const uint64_t left = number_of(report, "pages_left")) {
    out << fmt::format("  still mapped: {}\n", count_of(left, "page", "pages"));
  }
  if (const uint64_t lost = number_of(report, "lost_writebacks")) {
    out << fmt::format("  lost: {} not written back\n",
                       count_of(lost, "dirty page", "dirty pages"));
  }
  if (const uint64_t left = number_of(report, "requests_left")) {
    out << fmt::format("  still under way: {}\n", count_of(left, "request", "requests"));
  }
  if (const uint64_t taken = number_of(report, "pins_taken")) {
    out << fmt::format("  taken: {}\n", count_of(taken, "pin", "pins"));
  }
  if (const uint64_t taken = number_of(report, "buffers_taken")) {
    out << fmt::format("  taken: {}\n", count_of(taken, "buffer", "buffers"));
  }
  if (const uint64_t pages = number_of(report, "pages_migrated")) {
    out << fmt::format("  back in system memory: {}\n", count_of(pages, "page", "pages"));
  }
  if (const uint64_t given_up = number_of(report, "abandoned")) {
    out << fmt::format("  given up: {}\n",
                       count_of(given_up, "leaked reference", "leaked references"));
  }
  render_holders(out, holders);
}

void render_findings(std::ostream& out, const Json& findings) {
  if (findings.empty()) {
    out << "no problems found\n";
    return;
  }
  for (const Json& finding : findings) {
    out << text_of(finding, "object") << ": " << text_of(finding, "problem") << '\n';
  }
}

std::string event_line(const Json& event) {
  std::string line = fmt::format("{}  {:<10}  {}  {}", text_of(event, "time"),
                                 text_of(event, "kind"), text_of(event, "namespace"),
                                 range(number_of(event, "offset"), number_of(event, "length")));
  if (event.contains("file")) {
    line += fmt::format("  {}  {}", text_of(event, "file"),
                        range(number_of(event, "file_offset"), number_of(event, "file_length")));
  }
  return line;
}

}  // namespace pmemd::cli
